//! The program. Everything is in the library; see [`usher::cli`].

fn main() -> std::process::ExitCode {
    usher::cli::main()
}
