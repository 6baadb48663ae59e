//! The OpenAPI documents: committed ones equal generated ones, and every field is explained.

use std::path::Path;

use serde_json::Value;
use usher::api::openapi;

use crate::harness::TestApp;

#[test]
fn the_committed_documents_are_the_generated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    let mut names = Vec::new();
    for (name, document) in openapi::documents() {
        let committed = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            committed == format!("{document:#}\n"),
            "openapi/{name} differs; `usher openapi --out openapi` makes it anew"
        );
        names.push(name);
    }
    assert_eq!(
        names,
        [
            "partner/2023-10-04.json",
            "partner/2023-08-22.json",
            "partner/2023-08-01.json",
            "directory.json",
            "sign-in.json"
        ]
    );
}

#[test]
fn every_field_has_a_description_and_a_type_and_every_operation_its_statuses() {
    for (name, document) in openapi::documents() {
        let mut fields = 0;
        for schema in ["CreateUser", "UpdateUser", "UserData", "ChangeUser"] {
            let body = &document["components"]["schemas"][schema];
            let body = if schema == "ChangeUser" { &body["properties"]["user"] } else { body };
            for (field, about) in body["properties"].as_object().into_iter().flatten() {
                fields += 1;
                assert!(about["description"].as_str().is_some_and(|text| text.len() > 5), "{name} {schema}.{field}");
                assert!(about["type"].is_string() || about["anyOf"].is_array(), "{name} {schema}.{field}");
            }
        }
        let is_sign_in = name == "sign-in.json";
        assert!(fields >= 15 || is_sign_in, "{name} has {fields} fields");
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
                let written: &[&str] = match path.as_str() {
                    _ if method == "get" => &[],
                    "/users/retrieve" => &["400", "404", "507"],
                    _ if is_sign_in => &["400", "507"],
                    _ => &["400", "422", "507"],
                };
                let with_body: &[&str] = if operation["requestBody"].is_null() { &[] } else { &["408", "413"] };
                for status in ["200", "403", "405", "500", "503"].iter().chain(written).chain(with_body) {
                    assert!(statuses.iter().any(|s| s == status), "{name} {method} {path} does not say {status}");
                }
                assert!(operation["summary"].is_string() && operation["operationId"].is_string());
            }
        }
    }
}

#[test]
fn the_document_of_a_date_has_the_fields_of_that_date() {
    let documents = openapi::documents();
    let of = |date: &str, schema: &str| -> Vec<String> {
        let (_, document) = documents.iter().find(|(name, _)| name.contains(date)).unwrap();
        document["components"]["schemas"][schema]["properties"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(
        of("2023-08-01", "UserData"),
        [
            "email",
            "firstname",
            "lastname",
            "phonenumber",
            "dateOfBirth",
            "gender",
            "height",
            "weight",
            "pregnant",
            "metadata"
        ]
    );
    assert_eq!(
        of("2023-10-04", "UserData"),
        ["email", "diabetes", "glp1drugs", "doctorFullname", "medicalClearanceDescription", "metadata"]
    );
    assert!(of("2023-10-04", "CreateUser").contains(&"currentWeight".to_owned()));
    assert!(!of("2023-08-01", "CreateUser").contains(&"currentWeight".to_owned()));
}

#[tokio::test]
async fn the_documents_are_served() {
    let app = TestApp::new().await;
    let list = app.anyone().get("/openapi").await.ok();
    let addresses: Vec<&str> = list.body["documents"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(addresses.len(), 5);
    for address in addresses {
        assert_eq!(app.anyone().get(address).await.ok().body["openapi"], "3.1.0");
    }
}
