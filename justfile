# What is done in this repository, one word each. `.ci/run` uses the same words.

# Show the words
default:
    @just --list --unsorted

# Build the program as the README does
build:
    cargo build --locked --release

# Run the tests; what the machine lacks is skipped, loudly
test *arguments:
    cargo test --locked {{ arguments }}

# Run the PostgreSQL tests on PostgreSQL 18, which it installs below /tmp; Debian has 15
test-postgres-18 *arguments:
    tools=$(tests/postgres-18) && USHER_TEST_POSTGRES_TOOLS=$tools cargo test --locked --test it_postgres {{ arguments }}

# Measure, on a machine that does nothing else; `just bench --help` says what there is
bench *arguments:
    bench/run {{ arguments }}

# Inject the faults of docs/RELIABILITY.md into the release build; `just faults long` with all numbers, for hours
faults *arguments:
    tests/fault/run {{ arguments }}

# Show that each fault case fails once what it guards is taken out
mutations *ids:
    tests/fault/mutate {{ ids }}

# Install what the tests need beyond Rust
setup:
    tests/setup

# Make the pictures of README and docs anew, in Chromium
pictures:
    PICTURES={{ justfile_directory() }}/docs/pictures cargo test --locked --test it the_pictures_of_the_documentation

# Measure the README's story with the release build, from an empty directory to a webhook and the dashboard
first-minute: build
    cd "$(mktemp -d)" && PROGRAM={{ justfile_directory() }}/target/release/usher CHROMIUM="$(command -v chromium)" node {{ justfile_directory() }}/tests/browser/first-minute.mjs

# Format the code
fmt:
    cargo fmt

# Fail if the code is not formatted
formatted:
    cargo fmt --check

# Fail on every warning of the compiler and of clippy
lint:
    cargo clippy --locked --all-targets -- -D warnings

# Compile the tests and the program, side by side
compile:
    cargo test --locked --no-run

# Make every generated file anew, by the program as the tests have it: `cargo build` would make another
generate: compile
    rm -rf openapi
    "${CARGO_TARGET_DIR:-target}/debug/usher" openapi --out openapi

# Fail if making the generated files anew changes the tree
generated: generate
    git diff --exit-code -- openapi
    test -z "$(git status --porcelain -- openapi)"

# Fail if a mutation of the fault cases no longer fits the program
mutable:
    for patch in tests/fault/mutations/*.patch; do git apply -C1 --check "$patch" || exit 1; done

# Check the dependencies against deny.toml; needs cargo-deny
deny:
    cargo deny --locked check bans licenses sources

# Everything but the tests
check: formatted mutable lint deny generated

# What CI does: everything, and no test may be skipped; more of them at once than there are cores, for many only wait.
# Of what passes there is a dot, so that what fails is not lost among it.
ci: setup formatted compile check
    RUST_TEST_THREADS=$(($(nproc) * 3 / 2)) USHER_TEST_ALL=1 cargo test --locked --no-fail-fast -- --quiet
