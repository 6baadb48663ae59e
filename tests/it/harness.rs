//! The real app without a socket, on a fresh database, with a clock that stands still until it is moved.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use usher::admins::{self, Role};
use usher::api::Peer;
use usher::app::App;
use usher::apps::{self, AppId, Kind, Settings};
use usher::audit::{self, Action, Entry, Filter, Order};
use usher::caller::{Actor, Origin};
use usher::clock::Clock;
use usher::codes;
use usher::db::{IfMissing, Location, Store};
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

use crate::cluster;

/// 2026-11-21T12:00:00Z
const START: i64 = 1_795_262_400_000;

const DAY: Duration = Duration::from_hours(24);

/// What the operator does in a terminal.
pub const OPERATOR: Origin = Origin::of(Actor::Operator);

/// A directory of this process that is gone when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("usher-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn location(&self) -> Location {
        Location { postgres: self.database().map(Secret::new), ..Location::at(&self.0) }
    }

    /// The URL of this folder's database on the cluster, made when it is first asked for; `None` on SQLite.
    pub fn database(&self) -> Option<String> {
        cluster::database(&self.0, None)
    }

    /// A folder with the data of another.
    pub fn copy_of(other: &Folder) -> Folder {
        let folder = Folder::new();
        for file in std::fs::read_dir(&other.0).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.0.join(file.file_name())).unwrap();
        }
        cluster::database(&folder.0, Some(&other.0));
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        cluster::forget(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

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
        Client { server: &self.app, headers: Vec::new(), peer: None }
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
        match self.folder.database() {
            None => {
                let file = rusqlite::Connection::open(self.folder.0.join("usher.db")).unwrap();
                file.busy_timeout(Duration::from_secs(10)).unwrap();
                file.execute_batch(sql).unwrap();
            }
            Some(url) => {
                cluster::shared().sql(url.rsplit('/').next().unwrap(), sql);
            }
        }
    }

    /// Has `second` begin when `first` has done all it does and is not committed yet.
    pub async fn meet<A: Send + 'static, B: Send + 'static>(
        &self,
        first: impl Fn(&usher::db::Tx) -> Outcome<A> + Send + 'static,
        second: impl Fn(&usher::db::Tx) -> Outcome<B> + Send + 'static,
    ) -> (Outcome<A>, Outcome<B>) {
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
            self.store().write(second).await
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

/// Someone who calls the app, with the headers they send.
#[derive(Clone)]
pub struct Client<'a> {
    server: &'a App,
    headers: Vec<(String, String)>,
    peer: Option<Peer>,
}

impl<'a> Client<'a> {
    /// The same caller at another server of the same installation.
    pub fn at(&self, server: &'a App) -> Self {
        Client { server, ..self.clone() }
    }

    /// The same caller with one more header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same caller from that address.
    pub fn from(&self, address: &str) -> Self {
        Client { peer: Some(Peer(address.parse().unwrap())), ..self.clone() }
    }

    /// The same caller with another value of a header.
    pub fn instead(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(n, _)| n != name);
        client.with(name, value)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, String::new()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Value>) -> Answer {
        self.send("POST", path, body.into().to_string()).await
    }

    /// What is no text, with its headers.
    pub async fn bytes(&self, path: &str) -> (HeaderMap, Vec<u8>) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let (parts, body) = self.server.server().call(request).await.into_parts();
        assert_eq!(parts.status, 200, "{path}");
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    /// The parts in which the answer to a form without fields comes.
    pub async fn parts(&self, path: &str) -> Vec<String> {
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut body = self.server.server().call(request.body(Body::empty()).unwrap()).await.into_body();
        let mut parts = Vec::new();
        while let Some(frame) = body.frame().await {
            parts.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        parts
    }

    pub async fn put(&self, path: &str, body: impl Into<Value>) -> Answer {
        self.send("PUT", path, body.into().to_string()).await
    }

    pub async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let (parts, body) = self.begin(method, path, body).await.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body, text }
    }

    /// The answer, whose body is yet to be read.
    pub async fn begin(&self, method: &str, path: &str, body: impl Into<Body>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(peer) = self.peer {
            request = request.extension(peer);
        }
        self.server.server().call(request.body(body.into()).unwrap()).await
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// Fails unless it is a 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        self
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The error text of the directory API.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.body["identifier"].as_str().expect("an identifier")
    }

    /// The fields at fault, in order.
    pub fn fields(&self) -> Vec<&str> {
        self.body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The seed's example person (`partner-create-user`, payload example).
pub fn jane() -> Value {
    json!({
        "email": "jane@doe.com",
        "firstname": "jane",
        "lastname": "doe",
        "phonenumber": "1234567890",
        "dateOfBirth": "1990-12-23",
        "gender": "female",
        "height": "5ft 6in",
        "pregnant": false,
        "diabetes": 0,
        "glp1drugs": false,
        "paymentPlan": 1,
        "planStartDate": "2023-10-30",
        "medicalClearance": "full",
        "medicalClearanceDescription": "Yes, provided medical clearance",
        "currentWeight": 130,
        "desiredWeight": 110,
        "allergies": "no allergies",
        "nutritionPreferences": "vegan, gluten free",
        "religiousDietaryRestrictions": "no pork",
        "doctorFullname": "Dr. Mike Smith",
        "metadata": {"key": "value"}
    })
}

/// Another person than [`jane`].
pub fn john() -> Value {
    jane().but("email", json!("john@doe.com")).but("phonenumber", json!("2025550123"))
}

/// Small changes to a JSON object.
pub trait But {
    fn but(self, name: &str, value: Value) -> Value;
    fn without(self, name: &str) -> Value;
    fn map(&mut self) -> &mut Map<String, Value>;
}

impl But for Value {
    fn but(mut self, name: &str, value: Value) -> Value {
        self.map().insert(name.to_owned(), value);
        self
    }
    fn without(mut self, name: &str) -> Value {
        self.map().shift_remove(name);
        self
    }
    fn map(&mut self) -> &mut Map<String, Value> {
        self.as_object_mut().unwrap()
    }
}

/// Says that something was not tested, so that it cannot be overlooked; fails if skipping is not allowed.
pub fn skip(what: &str, why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("USHER_TEST_ALL").is_none(), "{what} must be tested here, but {why}");
    // Not `eprintln!`: the test runner would keep that to itself.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {what}, because {why}.\n");
}
