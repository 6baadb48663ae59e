//! TLS as a client: the one crypto provider, and the machine's roots (`SSL_CERT_FILE` names others).

use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;

/// Made once: to read the machine's roots takes a while.
static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
});

/// What every TLS connection of ours is made with.
pub fn config() -> ClientConfig {
    CONFIG.clone()
}
