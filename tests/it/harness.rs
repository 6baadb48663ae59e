//! The real app without a socket, on a fresh database, with a clock that stands still until it is moved.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use usher::admins::{self, Role};
use usher::app::App;
use usher::apps::{self, AppId, Kind, Settings};
use usher::audit::{self, Action, Entry, Filter, Order};
use usher::caller::{Actor, Origin};
use usher::clock::Clock;
use usher::codes;
use usher::db::{IfMissing, Store};
use usher::error::Result as Outcome;
use usher::keys::{self, Access, NewKey};
use usher::links::Links;
use usher::mail::{self, Mail};
use usher::outbox;
use usher::outbox::worker::{Leased, Work};
use usher::place::Place;
use usher::secret::Secret;
use usher::sessions;
use usher::tokens::{self, SigningKey};
use usher::users::{self, Email, UserId};
use usher::words::Language;

pub use crate::client::{Answer, But, Client, jane, john};
pub use crate::folder::Folder;

/// 2026-11-21T12:00:00Z
const START: i64 = 1_795_262_400_000;

const DAY: Duration = Duration::from_hours(24);

/// What the operator does in a terminal.
pub const OPERATOR: Origin = Origin::of(Actor::Operator);

/// An installation with one app, made once and copied for every test: signing keys take a while to make.
struct Template {
    folder: Folder,
    app: AppId,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let make = async {
            let folder = Folder::new();
            let store = Store::open(&folder.location(), manual(START).1, IfMissing::Create).await.unwrap();
            let settings = Settings { name: Some("Acme Coaching".into()), ..Settings::default() };
            let signing_keys = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
            let app = store.write(move |tx| apps::create(tx, &settings, &signing_keys)).await.unwrap().id;
            drop(store);
            Template { folder, app }
        };
        // On a thread of its own: a test's runtime cannot wait for another.
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        std::thread::spawn(move || runtime().block_on(make)).join().unwrap()
    })
}

/// The signing keys of a second app, made once.
pub fn second_keys() -> &'static [SigningKey; 2] {
    static KEYS: OnceLock<[SigningKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()])
}

fn manual(start: i64) -> (Arc<AtomicI64>, Clock) {
    let time = Arc::new(AtomicI64::new(start));
    (Arc::clone(&time), Clock::Manual(time))
}

/// The app under test.
pub struct TestApp {
    pub client_id: AppId,
    pub app: App,
    time: Arc<AtomicI64>,
    pub folder: Folder,
}

/// What no line of a log may hold: the example persons' data, keys, tokens, links.
pub fn reveals(line: &str) -> Option<&'static str> {
    const NEVER: &[&str] = &[
        "doe.com",
        "roe.com",
        "jane",
        "1234567890",
        "2025550",
        "1990-12-23",
        "Mike Smith",
        "no pork",
        "vegan",
        "5ft 6in",
        "no allergies",
        "usher_sandbox_",
        "usher_live_",
        "eyJ",
        "canary",
    ];
    let a_link = line.match_indices("/links/").any(|(at, found)| !line[at + found.len()..].starts_with('{'));
    NEVER.iter().copied().find(|never| line.contains(never)).or(a_link.then_some("a link"))
}

/// Watches every line that the suite logs, at the finest level. Nothing personal may pass: the process ends then,
/// for a panic inside a log writer could be caught by the code under test.
fn watch_log() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    struct Watch;
    impl std::io::Write for Watch {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let line = String::from_utf8_lossy(bytes);
            if let Some(what) = reveals(&line) {
                let _ = writeln!(std::io::stderr(), "the log holds {what:?}: {line}");
                std::process::exit(1);
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    ONCE.call_once(|| tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Watch).init());
}

impl TestApp {
    pub async fn new() -> TestApp {
        TestApp::with_links_for(DAY).await
    }

    /// With another lifetime of links.
    pub async fn with_links_for(lifetime: Duration) -> TestApp {
        watch_log();
        TestApp::on(Folder::copy_of(&template().folder), lifetime).await
    }

    /// On a copy of another's data.
    pub async fn of_copy(other: &Folder) -> TestApp {
        TestApp::on(Folder::copy_of(other), DAY).await
    }

    async fn on(folder: Folder, lifetime: Duration) -> TestApp {
        let (time, clock) = manual(START);
        let store = Store::open(&folder.location(), clock, IfMissing::Refuse).await.unwrap();
        let links = Links { public_url: "https://users.example.com".parse().unwrap(), lifetime };
        TestApp { client_id: template().app, app: App::new(store, links, None), time, folder }
    }

    pub fn store(&self) -> &Store {
        &self.app.api().store
    }

    /// Where its data is.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Where the files are.
    pub fn path(&self) -> &PathBuf {
        &self.folder.0
    }

    /// The data without the app.
    pub fn into_folder(self) -> Folder {
        self.folder
    }

    pub fn advance(&self, span: Duration) {
        self.time.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Moves the clock to the present, where the binary's is.
    pub fn catch_up(&self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        self.time.fetch_max(i64::try_from(now).unwrap(), Ordering::SeqCst);
    }

    pub async fn new_key(&self, kind: Kind, new: NewKey) -> (keys::Key, String) {
        let app = self.client_id;
        let made = self
            .store()
            .write(move |tx| keys::create(tx, Origin::of(Actor::Operator), &apps::environment(tx, app, kind)?, &new))
            .await;
        let (key, secret) = made.unwrap();
        (key, secret.expose().to_owned())
    }

    /// A caller with a new key, in no header yet.
    pub async fn key(&self, kind: Kind, access: Access) -> String {
        self.new_key(kind, NewKey { access, ..a_key() }).await.1
    }

    /// An administrator of that role, whose browser is signed in.
    pub async fn admin(&self, role: Role) -> Client<'_> {
        self.admin_at(&format!("{}@clinic.example", role.as_str()), role).await
    }

    /// The same, with that address.
    pub async fn admin_at(&self, email: &str, role: Role) -> Client<'_> {
        let (links, email) = (self.app.api().links.clone(), Email::new(email).unwrap());
        let enter = move |tx: &usher::db::Tx| {
            if admins::by_email(tx, &email).is_err() {
                admins::create(tx, Origin::of(Actor::Operator), &email, role)?;
            }
            let link = admins::link_for(tx, &links, &email, &admins::Way::Tell)?.expect("it is told");
            let secret = Secret::new(link.path().rsplit('/').next().unwrap());
            Ok(admins::enter(tx, &secret, Language::default(), None)?.expect("the link works"))
        };
        let session = self.store().write(enter).await.unwrap();
        self.anyone().with("Cookie", &format!("__Host-usher_admin={}", session.expose()))
    }

    /// A caller that sends nothing about itself.
    pub fn anyone(&self) -> Client<'_> {
        Client::of(&self.app)
    }

    /// A partner with a sandbox key of its own tenant.
    pub async fn partner(&self, tenant: &str) -> Client<'_> {
        self.partner_in(Kind::Sandbox, Some(tenant)).await
    }

    pub async fn partner_in(&self, kind: Kind, tenant: Option<&str>) -> Client<'_> {
        let (_, key) = self.new_key(kind, NewKey { tenant: tenant.map(str::to_owned), ..a_key() }).await;
        self.anyone().with("Authorization", &format!("Bearer {key}"))
    }

    /// The app's server with a sandbox key that may write.
    pub async fn server(&self) -> Client<'_> {
        self.server_in(Kind::Sandbox, Access::Write).await
    }

    /// The app's server with a sandbox key of one tenant.
    pub async fn server_of(&self, tenant: &str) -> Client<'_> {
        let (_, key) = self.new_key(Kind::Sandbox, NewKey { tenant: Some(tenant.to_owned()), ..a_key() }).await;
        let client = self.anyone().with("X-API-KEY", &key).with("X-API-KEY-TYPE", "write");
        client.with("X-CLIENT-ID", &self.client_id.to_string())
    }

    pub async fn server_in(&self, kind: Kind, access: Access) -> Client<'_> {
        let key = self.key(kind, access).await;
        self.anyone()
            .with("X-API-KEY", &key)
            .with("X-API-KEY-TYPE", access.as_str())
            .with("X-CLIENT-ID", &self.client_id.to_string())
    }

    /// A person with an access token.
    pub async fn person(&self, id: &str) -> Client<'_> {
        self.anyone().with("Authorization", &format!("Bearer {}", self.token(id).await))
    }

    pub async fn token(&self, id: &str) -> String {
        self.token_of_scopes(id, "").await
    }

    /// An access token of those scopes; of none named, of all.
    pub async fn token_of_scopes(&self, id: &str, scopes: &str) -> String {
        let (id, scopes): (UserId, _) = (id.parse().unwrap(), codes::scope_of(scopes));
        let issue = move |tx: &usher::db::Tx| {
            let (session, _) = sessions::start(tx, &users::any_by_id(tx, id)?.expect("the user"))?;
            let (session, _) = sessions::hand_over(tx, session, &scopes)?.expect("a new session");
            tokens::issue(tx, &tokens::Grant { session: &session, nonce: None, standard: None })
        };
        let tokens = self.store().write(issue).await;
        tokens.unwrap().access.expose().to_owned()
    }

    pub async fn user(&self, id: &str) -> users::User {
        let id: UserId = id.parse().unwrap();
        self.store().read(move |tx| users::any_by_id(tx, id)).await.unwrap().expect("the user is there")
    }

    /// Every mail with its job, newest first. Decides about sign-ins first, which a task does beside a server.
    pub async fn mails(&self) -> Vec<(outbox::Job, Mail)> {
        usher::app::decide(self.app.api()).await.unwrap();
        let all = |tx: &usher::db::Tx| {
            let jobs = outbox::newest_mails(tx, 1000)?;
            jobs.into_iter().map(|job| mail::render(tx, &job).map(|mail| (job, mail))).collect::<Result<Vec<_>, _>>()
        };
        let mails = self.store().read(all).await.unwrap();
        mails.into_iter().filter_map(|(job, mail)| mail.map(|mail| (job, mail))).collect()
    }

    /// The path of the link in the newest mail.
    pub async fn newest_link(&self) -> String {
        let link = self.mails().await[0].1.links[0].clone();
        link.strip_prefix("https://users.example.com").expect("links begin with the public URL").to_owned()
    }

    /// Runs SQL behind the app's back, as somebody would who has got at the database.
    pub fn tamper(&self, sql: &str) {
        self.folder.intruder().runs(sql);
    }

    /// Has `second` begin when `first` has done all it does and is not committed yet.
    pub async fn meet<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl Fn(&usher::db::Tx) -> Outcome<A> + Send + 'static,
        second: impl Fn(&usher::db::Tx) -> Outcome<B> + Send + 'static,
    ) -> (Outcome<A>, Outcome<B>) {
        self.meanwhile(first, self.store().write(second)).await
    }

    /// The same for a `second` that is more than an operation, such as a request.
    pub async fn meanwhile<A: Send + 'static, B>(
        &self,
        first: impl Fn(&usher::db::Tx) -> Outcome<A> + Send + 'static,
        second: impl Future<Output = B>,
    ) -> (Outcome<A>, B) {
        let (tell, told) = std::sync::mpsc::channel();
        let first = move |tx: &usher::db::Tx| {
            let done = first(tx)?;
            // What was put off is sent with this.
            tx.query("SELECT 1", &[])?;
            let _ = tell.send(());
            std::thread::sleep(Duration::from_millis(500));
            Ok(done)
        };
        let second = async {
            let begun = tokio::task::spawn_blocking(move || told.recv_timeout(Duration::from_secs(10)));
            begun.await.unwrap().expect("the first has begun");
            second.await
        };
        tokio::join!(self.store().write(first), second)
    }

    /// Takes what is due of a kind of work and tries it; says how much that was.
    pub async fn attempt(&self, work: &impl Work) -> usize {
        let jobs = Leased::take(work, self.store(), 100).await.unwrap();
        let count = jobs.len();
        for job in jobs {
            work.attempt(self.store(), job).await.unwrap();
        }
        count
    }

    /// Asserts how many tries came to what, by a counter of `/metrics`.
    pub async fn assert_counted(&self, counter: &str, counts: &[(&str, u32)]) {
        let metrics = self.anyone().get("/metrics").await.ok().text;
        for (outcome, count) in counts {
            let line = format!("{counter}{{outcome=\"{outcome}\"}} {count}");
            assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
        }
    }

    /// A second server on the same database.
    pub async fn another_server(&self) -> App {
        App::new(self.another_store().await, self.app.api().links.clone(), None)
    }

    /// A second server's store on the same database.
    pub async fn another_store(&self) -> Store {
        let clock = Clock::Manual(Arc::clone(&self.time));
        Store::open(&self.folder.location(), clock, IfMissing::Refuse).await.unwrap()
    }

    /// What the audit trail holds of an action, newest first.
    pub async fn audited(&self, action: Action) -> Vec<Entry> {
        let filter = move || Filter { action: Some(action), ..Filter::default() };
        self.store().read(move |tx| audit::find(tx, &filter(), Order::NewestFirst, 1000)).await.unwrap()
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &'static str) -> i64 {
        let rows = self.store().read(move |tx| tx.query_opt(&format!("SELECT COUNT(*) FROM {table}"), &[])).await;
        rows.unwrap().unwrap().get(0).unwrap()
    }
}

/// What the trail holds of a user, oldest first.
pub fn trail_of(tx: &usher::db::Tx, user: UserId) -> Result<Vec<Entry>, usher::error::Error> {
    audit::after(tx, user, Place::FIRST, 100_000)
}

/// A key as most tests want it.
pub fn a_key() -> NewKey {
    NewKey { name: "test".into(), access: Access::Write, tenant: None, api_version: None, expires_in: None }
}

/// Says that something was not tested, so that it cannot be overlooked; fails if skipping is not allowed.
pub fn skip(what: &str, why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("USHER_TEST_ALL").is_none(), "{what} must be tested here, but {why}");
    // Not `eprintln!`: the test runner would keep that to itself.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {what}, because {why}.\n");
}
