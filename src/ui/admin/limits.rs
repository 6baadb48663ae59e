//! The limits that hold, for the page of settings: how often, how large, for how long. Each is read from where it is kept to, so
//! that the page cannot say another number than the one that counts.

use std::time::Duration;

use super::words::grouped;
use crate::admins;
use crate::api::body;
use crate::api::directory::imports as files;
use crate::api::requests;
use crate::codes;
use crate::field::Metadata;
use crate::idempotency;
use crate::imports;
use crate::limits::Limit;
use crate::links::{self, Links};
use crate::outbox;
use crate::sessions;
use crate::signin;
use crate::tenants;
use crate::tokens;
use crate::users;
use crate::webhooks;
use crate::words::{Language, Words};

/// A kind of limits: its name, and what is limited with how much of it there may be.
pub(super) type Group = (&'static str, Vec<(&'static str, String)>);

/// All of them, with the settings of this server.
pub(super) fn all(links: &Links, sign_ins_per_network: Option<Limit>) -> [Group; 3] {
    let not_here = || "not limited here; a proxy can".to_owned();
    let per_address = signin::PER_ADDRESS.map(|(span, most)| rate(most, span)).join(" and ");
    let [keys, key, text, levels] = [Metadata::KEYS, Metadata::KEY_LENGTH, Metadata::TEXT_LENGTH, Metadata::LEVELS];
    let all = size(Metadata::SIZE);
    let often = vec![
        ("Links that are mailed to one person", rate(links::LINKS_PER_HOUR, HOUR)),
        ("Mails to sign in by, to one address", per_address),
        ("Mails to sign in by, of an environment to its users", of(&signin::PER_ENVIRONMENT)),
        ("Mails to register by, of an environment", of(&signin::TO_STRANGERS)),
        (
            "Sign-ins begun from one network (/24 of IPv4, /64 of IPv6)",
            sign_ins_per_network.as_ref().map_or_else(not_here, of),
        ),
        ("Wrong codes of one sign-in", signin::TRIES.to_string()),
        ("Other addresses and numbers that a person tries to take", of(&users::ATTEMPTS)),
        ("The same by who may change others", of(&users::ATTEMPTS_FOR_OTHERS)),
        ("Other names that people try to give their tenant", of(&tenants::ATTEMPTS)),
        ("Links that whoever asks has mailed to one administrator", of(&admins::ASKED)),
        ("Links that other administrators have mailed to one", of(&admins::SENT)),
        ("Mails of an environment to one contact of webhooks that are gone", of(&webhooks::MAILS)),
        ("Files of an environment that wait to be imported", imports::MOST_FILES.to_string()),
        ("Files for imports that a server takes in at once", body::LARGE_AT_ONCE.to_string()),
        ("Webhooks of an environment, and of each tenant of it", webhooks::MOST_ENDPOINTS.to_string()),
        ("Other requests, of a key or from an address", not_here()),
    ];
    let large = vec![
        ("Body of a request", format!("{}, within {}", size(body::LIMIT), span(body::TIMEOUT))),
        ("File of an import", format!("{}, within {}", size(files::LIMIT), span(body::TIMEOUT))),
        ("Idempotency-Key", format!("{} characters", idempotency::LONGEST)),
        (
            "Metadata of a user",
            format!("{keys} keys an object of {key} characters, texts of {text} characters, {levels} levels, {all}"),
        ),
    ];
    let long = vec![
        ("Link that is mailed to a person", span(links.lifetime)),
        ("Mail to sign in by", span(signin::LIFETIME)),
        ("Code for an app", span(codes::LIFETIME)),
        ("Access token", span(tokens::ACCESS_LIFETIME)),
        ("Session, which a refresh token goes on with", span(sessions::LIFETIME)),
        ("Session of the hosted pages", span(sessions::BROWSER_LIFETIME)),
        (
            "Session of an administrator",
            format!("{}, or {} without use", span(admins::SESSION_LIFETIME), span(admins::SESSION_IDLE)),
        ),
        ("Answer to an Idempotency-Key", span(idempotency::LIFETIME)),
        ("Deleted user, until they are erased", span(users::RESTORABLE)),
        ("File of an import that waits", span(imports::FILE_KEPT)),
        ("Mail that was sent, captured, given up or withdrawn", span(outbox::KEPT)),
        ("Messages of webhooks, and what was answered", span(webhooks::KEPT)),
        ("Requests, in the memory of a server", format!("the newest {}", grouped(to_i64(requests::KEPT)))),
        ("Audit trail", "for good".to_owned()),
    ];
    [("How often", often), ("How large", large), ("For how long", long)]
}

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn of(limit: &Limit) -> String {
    rate(limit.most, limit.span)
}

fn rate(most: i64, span: Duration) -> String {
    let most = grouped(most);
    match span {
        HOUR => format!("{most} an hour"),
        DAY => format!("{most} a day"),
        other => format!("{most} in {}", self::span(other)),
    }
}

fn span(span: Duration) -> String {
    match span.as_secs() {
        long if long > DAY.as_secs() && long.is_multiple_of(DAY.as_secs()) => format!("{} days", long / DAY.as_secs()),
        _ => Words::of(Language::English).span(span),
    }
}

fn size(bytes: usize) -> String {
    const MIB: usize = 1024 * 1024;
    if bytes >= MIB { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes / 1024) }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
