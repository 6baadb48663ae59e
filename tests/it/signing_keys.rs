//! Signing keys: how they rotate and end.

use std::time::Duration;

use usher::apps::{self, Kind};
use usher::db::Tx;
use usher::tokens::signing::{self, SigningKey};

use crate::harness::OPERATOR;
use crate::signin::app_and_jane;
use crate::tokens::kid;

#[tokio::test]
async fn a_signing_key_rotates_without_a_refusal_and_a_revoked_one_is_dead_at_once() {
    let (app, id) = app_and_jane().await;
    let (client, old) = (app.client_id, app.token(&id).await);
    let key_set = async || {
        let path = format!("/.well-known/jwks.json?client_id={client}&environment=sandbox");
        let keys = app.anyone().get(&path).await.ok().body["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let next = SigningKey::generate().unwrap();
    let next_id = next.id().to_owned();
    let rotate = move |tx: &Tx| {
        signing::rotate(
            tx,
            usher::caller::Origin::of(usher::caller::Actor::Operator),
            apps::environment(tx, client, Kind::Sandbox)?.id,
            &next,
            Duration::from_mins(10),
        )
    };
    app.store().write(rotate).await.unwrap();
    assert_eq!(key_set().await.len(), 2, "the new key is shown before it signs");
    assert_eq!(kid(&app.token(&id).await), kid(&old));
    app.advance(Duration::from_mins(10));
    let new = app.token(&id).await;
    assert_eq!(kid(&new), next_id);
    app.advance(Duration::from_mins(49));
    assert_eq!((app.as_token(&old).await, app.as_token(&new).await), (200, 200), "both verify while their tokens live");
    app.advance(Duration::from_mins(20));
    assert_eq!(key_set().await, [next_id.as_str()]);

    let fresh = app.token(&id).await;
    let (emergency, revoked) = (SigningKey::generate().unwrap(), next_id.clone());
    app.store().write(move |tx| signing::revoke(tx, OPERATOR, &revoked, &emergency)).await.unwrap();
    assert_eq!(app.as_token(&fresh).await, 401);
    assert!(!key_set().await.contains(&next_id));
    assert_eq!(app.as_token(&app.token(&id).await).await, 200);
}

#[tokio::test]
async fn of_two_that_change_the_signing_key_at_once_the_later_knows_of_the_key_of_the_other() {
    for revokes in [false, true] {
        let (app, id) = app_and_jane().await;
        let client = app.client_id;
        let sandbox = move |tx: &Tx| Ok::<_, usher::error::Error>(apps::environment(tx, client, Kind::Sandbox)?.id);
        let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let (first, last) = (kid(&app.token(&id).await), two.id().to_owned());
        let old = first.clone();
        let rotate = move |tx: &Tx| signing::rotate(tx, OPERATOR, sandbox(tx)?, &one, Duration::ZERO);
        let other = move |tx: &Tx| {
            if revokes {
                signing::revoke(tx, OPERATOR, &old, &two)
            } else {
                signing::rotate(tx, OPERATOR, sandbox(tx)?, &two, Duration::ZERO)
            }
        };
        let (one, two) = app.meet(rotate, other).await;
        one.and(two).unwrap();
        let listed = app.store().read(move |tx| usher::tokens::list(tx, sandbox(tx)?)).await.unwrap();
        let without_end: Vec<&String> =
            listed.iter().filter(|key| key.retires_at.is_none()).map(|key| &key.id).collect();
        assert_eq!(without_end, [&last]);
        let revoked: Vec<&String> = listed.iter().filter(|key| key.revoked_at.is_some()).map(|key| &key.id).collect();
        assert_eq!(revoked, if revokes { vec![&first] } else { vec![] });
    }
}

#[tokio::test]
async fn a_signing_key_that_was_superseded_while_it_waited_never_signs() {
    for revoke in [false, true] {
        let (app, id) = app_and_jane().await;
        let client = app.client_id;
        let signs_with = async || kid(&app.token(&id).await);
        let first = signs_with().await;
        let (waiting, next) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let (waiting_id, next_id) = (waiting.id().to_owned(), next.id().to_owned());
        let sandbox = move |tx: &Tx| Ok::<_, usher::error::Error>(apps::environment(tx, client, Kind::Sandbox)?.id);
        let rotate = move |tx: &Tx| {
            signing::rotate(
                tx,
                usher::caller::Origin::of(usher::caller::Actor::Operator),
                sandbox(tx)?,
                &waiting,
                Duration::from_mins(10),
            )
        };
        app.store().write(rotate).await.unwrap();
        app.advance(Duration::from_mins(1));
        assert_eq!(signs_with().await, first);
        let (old, emergency) = (first.clone(), next);
        let supersede = move |tx: &Tx| {
            if revoke {
                signing::revoke(tx, OPERATOR, &old, &emergency)
            } else {
                signing::rotate(
                    tx,
                    usher::caller::Origin::of(usher::caller::Actor::Operator),
                    sandbox(tx)?,
                    &emergency,
                    Duration::ZERO,
                )
            }
        };
        app.store().write(supersede).await.unwrap();
        assert_eq!(signs_with().await, next_id);
        let server = app.server().await;
        let shown = async || server.get("/v1/public-key").await.ok().body["data"]["publicKey"].clone();
        let signs = shown().await;
        for _ in 0..40 {
            app.advance(Duration::from_mins(2));
            assert_eq!((signs_with().await, shown().await == signs), (next_id.clone(), true), "and not {waiting_id}");
        }
    }
}
