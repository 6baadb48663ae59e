//! Case D4: only the newest link works, within its life, as long as its mailbox is the person's and they may sign in. For
//! the link of an enrolment and for that of a sign-in alike.

use std::time::Duration;

use serde_json::json;
use usher::users::{self, Status, UserId};

use crate::harness::{Client, TestApp};
use crate::signin::app_and_jane;

const SECOND: Duration = Duration::from_secs(1);

/// The two kinds of link, with how long they work.
const LINKS: [(&str, Duration); 2] = [("enrolment", Duration::from_hours(24)), ("sign-in", Duration::from_mins(10))];

/// The newest link of that kind to Jane, and the browser that it works in.
async fn sent<'a>(app: &'a TestApp, kind: &str) -> (Client<'a>, String) {
    if kind == "enrolment" {
        return (app.anyone(), app.newest_link().await);
    }
    let (browser, _) = app.begin("jane@doe.com").await;
    (browser, app.newest_mail().await.0)
}

#[tokio::test]
async fn case_d4_a_link_works_until_the_second_before_its_life_ends() {
    for (kind, life) in LINKS {
        for (after, works) in [(life.checked_sub(SECOND).unwrap(), true), (life, false), (life + SECOND, false)] {
            let (app, _) = app_and_jane().await;
            let (browser, link) = sent(&app, kind).await;
            // The enrolment was a second ago.
            let left = if kind == "enrolment" { after.checked_sub(SECOND).unwrap() } else { after };
            app.advance(left);
            let pressed = browser.send("POST", &link, "").await;
            assert_eq!(pressed.status, if works { 303 } else { 410 }, "{kind} after {after:?}");
            assert_eq!(app.count("sessions").await, i64::from(works), "{kind} after {after:?}");
        }
    }
}

#[tokio::test]
async fn case_d4_an_older_link_does_not_work_and_the_newest_does() {
    for (kind, _) in LINKS {
        let (app, _) = app_and_jane().await;
        let (browser, old) = sent(&app, kind).await;
        app.advance(SECOND);
        let newer = if kind == "enrolment" {
            app.anyone().send("POST", &format!("{old}/renew"), "").await.ok();
            browser.clone()
        } else {
            app.begin_as(&browser, "jane@doe.com").await.0
        };
        let new = app.newest_mail().await.0;
        for client in [&browser, &newer] {
            assert!([403, 410].contains(&client.send("POST", &old, "").await.status), "{kind}");
        }
        assert_eq!(app.count("sessions").await, 0, "{kind}");
        assert_eq!(newer.send("POST", &new, "").await.status, 303, "{kind}");
    }
}

#[tokio::test]
async fn case_d4_the_mail_of_another_browser_older_or_newer_does_not_work_and_each_ones_own_does() {
    for proven in [false, true] {
        let (app, _) = app_and_jane().await;
        if proven {
            app.code().await;
            app.advance(SECOND);
        }
        let before = app.count("sessions").await;
        let (one, _) = app.begin("jane@doe.com").await;
        let older = app.newest_mail().await;
        app.advance(SECOND);
        let (two, _) = app.begin("jane@doe.com").await;
        let newer = app.newest_mail().await;
        for (browser, (link, digits), what) in [(&two, &older, "an older mail"), (&one, &newer, "a newer mail")] {
            assert_eq!(browser.send("POST", link, "").await.status, 403, "the link of {what}");
            let typed = browser.send("POST", "/sign-in/code", format!("code={digits}")).await;
            assert_eq!(typed.status, 400, "the digits of {what}");
        }
        assert_eq!(app.count("sessions").await, before);
        // Who asks elsewhere takes nothing from who has asked here.
        assert_eq!(one.send("POST", &older.0, "").await.status, 303);
        // Only the first proof of a mailbox ends what waits.
        assert_eq!(two.send("POST", &newer.0, "").await.status, if proven { 303 } else { 410 });
    }
}

#[tokio::test]
async fn case_d4_who_asked_twice_in_a_browser_hears_from_the_older_mail_that_there_is_a_newer_one() {
    let (app, id) = app_and_jane().await;
    let standard = format!(
        "/authorize?response_type=code&client_id={}&redirect_uri={}&code_challenge={}&code_challenge_method=S256",
        app.client_id,
        crate::signin::CALLBACK,
        "A".repeat(43)
    );
    let (first, asked) = app.begin("jane@doe.com").await;
    assert!(asked.header("set-cookie").contains("; Path=/;"), "every door that begins a sign-in is sent it");
    let (old, _) = app.newest_mail().await;
    app.advance(SECOND);
    let again = first.send("POST", &standard, "email=jane%40doe.com").await;
    let browser = first.instead("Cookie", again.header("set-cookie").split(';').next().unwrap());
    let (new, _) = app.newest_mail().await;
    assert_eq!(app.count("sign_ins WHERE closed_at IS NOT NULL").await, 1);
    for answer in [browser.get(&old).await, browser.send("POST", &old, "").await, app.anyone().get(&old).await] {
        assert_eq!(answer.status, 410);
        assert!(answer.text.contains("a newer one was sent"), "{}", answer.text);
    }
    let user: UserId = id.parse().unwrap();
    let trail = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!(trail.iter().filter(|entry| entry.result == "link_superseded").count(), 1);
    assert_eq!(app.anyone().get(&new).await.status, 403, "what works here does not elsewhere");
    app.advance(Duration::from_mins(10));
    assert_eq!(app.anyone().get(&new).await.status, 410, "what has expired has so everywhere");
}

#[tokio::test]
async fn case_d4_an_older_enrolment_link_works_in_no_browser() {
    let (app, _) = app_and_jane().await;
    let old = app.newest_link().await;
    let elsewhere = app.anyone().from("203.0.113.7");
    app.advance(SECOND);
    elsewhere.send("POST", &format!("{old}/renew"), "").await.ok();
    for browser in [app.anyone(), elsewhere] {
        assert_eq!(browser.send("POST", &old, "").await.status, 410);
    }
    assert_eq!(app.count("sessions").await, 0);
    assert_eq!(app.anyone().send("POST", &app.newest_link().await, "").await.status, 303);
}

#[tokio::test]
async fn case_d4_a_link_ends_with_the_address_and_with_the_leave_to_sign_in() {
    for (kind, _) in LINKS {
        for what in ["moved", "frozen", "deleted", "erased"] {
            let (app, id) = app_and_jane().await;
            let (browser, link) = sent(&app, kind).await;
            let (server, user): (_, UserId) = (app.server().await, id.parse().unwrap());
            match what {
                "moved" => {
                    server.put(&format!("/v1/users/{id}"), json!({"user": {"email": "j@roe.com"}})).await.ok();
                }
                "erased" => _ = server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok(),
                _ => {
                    let status = if what == "frozen" { Status::Frozen } else { Status::Deleted };
                    app.store().write(move |tx| users::set_status(tx, user, status)).await.unwrap();
                }
            }
            let pressed = browser.send("POST", &link, "").await;
            assert!((400..500).contains(&pressed.status), "{kind} {what}: {}", pressed.status);
            if ["frozen", "deleted"].contains(&what) {
                app.store().write(move |tx| users::set_status(tx, user, Status::Active)).await.unwrap();
                assert_eq!(browser.send("POST", &link, "").await.status, 410, "{kind}: it does not come back");
            }
            assert_eq!(app.count("sessions").await, 0, "{kind} {what}");
        }
    }
}
