//! Which column of a file becomes which fact: as it is said, as a known export has it, or as its name lets guess. Knows no
//! row, no format and no database.

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::column::{Column, Reading};
use super::entry::fields;
use super::presets::{self, Preset};
use crate::error::{Error, Result};

/// Names under which facts are found elsewhere, in small letters without accents, and digits.
const GUESSES: &[(&str, &str)] = &[
    ("mail", "email"),
    ("emailaddress", "email"),
    ("primaryemail", "email"),
    ("emailadresse", "email"),
    ("emailadres", "email"),
    ("adresseemail", "email"),
    ("courriel", "email"),
    ("correo", "email"),
    ("correoelectronico", "email"),
    ("emailconfirmed", "email_verified"),
    ("phone", "phone_number"),
    ("mobile", "phone_number"),
    ("mobilenumber", "phone_number"),
    ("mobilephone", "phone_number"),
    ("cell", "phone_number"),
    ("cellphone", "phone_number"),
    ("telephone", "phone_number"),
    ("tel", "phone_number"),
    ("telefon", "phone_number"),
    ("telefonnummer", "phone_number"),
    ("handy", "phone_number"),
    ("telefoon", "phone_number"),
    ("telefoonnummer", "phone_number"),
    ("telefono", "phone_number"),
    ("telefone", "phone_number"),
    ("movil", "phone_number"),
    ("cellulare", "phone_number"),
    ("celular", "phone_number"),
    ("firstname", "given_name"),
    ("forename", "given_name"),
    ("vorname", "given_name"),
    ("voornaam", "given_name"),
    ("prenom", "given_name"),
    ("nombre", "given_name"),
    ("nome", "given_name"),
    ("lastname", "family_name"),
    ("surname", "family_name"),
    ("nachname", "family_name"),
    ("achternaam", "family_name"),
    ("nom", "family_name"),
    ("nomdefamille", "family_name"),
    ("apellido", "family_name"),
    ("apellidos", "family_name"),
    ("cognome", "family_name"),
    ("sobrenome", "family_name"),
    ("fullname", "name"),
    ("displayname", "name"),
    ("username", "preferred_username"),
    ("dateofbirth", "birthdate"),
    ("birthday", "birthdate"),
    ("dob", "birthdate"),
    ("geburtsdatum", "birthdate"),
    ("geboortedatum", "birthdate"),
    ("datedenaissance", "birthdate"),
    ("fechadenacimiento", "birthdate"),
    ("datadinascita", "birthdate"),
    ("datadenascimento", "birthdate"),
    ("timezone", "zoneinfo"),
    ("avatar", "picture"),
    ("avatarurl", "picture"),
    ("customerid", "externalId"),
    ("patientid", "externalId"),
    // A plain "weight" is in kilograms as often as not.
    ("weightlb", "currentWeight"),
    ("weightlbs", "currentWeight"),
    ("weightpounds", "currentWeight"),
    ("clinic", "tenant"),
];

/// How the rows of a file are read.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) columns: Vec<Column>,
    /// The columns that become nothing.
    pub ignored: Vec<String>,
    /// The known export that it is, if it is one.
    pub preset: Option<Preset>,
}

/// What a field's numbers count, where they are of one unit.
pub fn unit(field: &str) -> Option<&'static str> {
    match field {
        "currentWeight" | "desiredWeight" => Some("pounds"),
        "height" => Some("feet and inches (5ft 6in)"),
        _ => None,
    }
}

/// A field as people are shown it: with its unit.
pub fn with_unit(field: &str) -> String {
    unit(field).map_or_else(|| field.to_owned(), |unit| format!("{field}, in {unit}"))
}

impl Plan {
    /// Decides what becomes of the columns of a file: first what `said` says (`column=field`; without a field, nothing),
    /// then what the known export has, then guesses.
    ///
    /// # Errors
    /// Something names no column or no field, or nothing becomes the e-mail address.
    pub fn new(columns: &[String], said: &[String], preset: Option<Preset>) -> Result<Plan> {
        let plan = Plan::guess(columns, said, preset)?;
        if !plan.has_email() {
            return Err(refuse("No column becomes the e-mail address; say which with a mapping: COLUMN=email"));
        }
        Ok(plan)
    }

    /// The same, where somebody has yet to say which column is the e-mail address.
    ///
    /// # Errors
    /// Something names no column or no field.
    pub fn guess(columns: &[String], said: &[String], preset: Option<Preset>) -> Result<Plan> {
        let mut plan = Plan { preset: preset.or_else(|| presets::detect(columns)), ..Plan::default() };
        let mut settled: Vec<&str> = Vec::new();
        let split = |one| mapping(one, columns).ok_or_else(|| refuse("A mapping must be written column=field"));
        let said: Vec<(&str, &str)> = said.iter().map(|one| split(one)).collect::<Result<_>>()?;
        for (source, field) in &said {
            let column = source.split('.').next().unwrap_or(source);
            let named = |wanted: &str| columns.iter().find(|name| *name == wanted);
            let Some(known) = named(source).or_else(|| named(column)) else {
                return Err(refuse("A mapping names a column that the file does not have"));
            };
            settled.push(known);
            if !field.is_empty() {
                check(field)?;
                plan.columns.push(Column::new(source, field, Reading::Plain));
            }
        }
        for (source, field, reading) in plan.preset.map(presets::columns).unwrap_or_default() {
            let column = source.split('.').next().unwrap_or(source);
            let found = columns.iter().find(|name| normal(name) == normal(column));
            let Some(name) = found.filter(|name| !settled.contains(&name.as_str())) else { continue };
            if field.is_empty() {
                settled.push(name);
                plan.ignored.push(name.clone());
            } else if !said.iter().any(|(_, said)| said == field) {
                let way = source.strip_prefix(column).unwrap_or_default();
                plan.columns.push(Column::new(&format!("{name}{way}"), field, *reading));
            }
        }
        // Who names an export says what each column is. One that is only alike may have columns of somebody's own.
        let guess: fn(&str) -> Option<&'static str> = match (plan.preset, preset) {
            (None, _) => guess,
            (Some(_), None) => exactly,
            (Some(_), Some(_)) => |_| None,
        };
        for name in columns.iter().filter(|name| !settled.contains(&name.as_str())) {
            if plan.columns.iter().any(|column| column.is_of(name)) {
                continue;
            }
            let is_free = |field: &&str| !plan.columns.iter().any(|column| column.field == *field);
            match guess(name).filter(is_free) {
                Some(field) => plan.columns.push(Column::new(name, field, Reading::Plain)),
                None => plan.ignored.push(name.clone()),
            }
        }
        Ok(plan)
    }

    /// The same, with nothing becoming that field.
    pub(super) fn without(self, field: &str) -> Plan {
        let (out, columns): (Vec<_>, Vec<_>) = self.columns.into_iter().partition(|column| column.field == field);
        let ignored = self.ignored.into_iter().chain(out.into_iter().map(|column| column.source));
        Plan { columns, ignored: ignored.collect(), preset: self.preset }
    }

    /// What counts of a file that a key sends: not how people stood elsewhere, nor, where all go to one tenant, a column that names
    /// others.
    #[must_use]
    pub fn of_key(self, to_one_tenant: bool) -> Plan {
        let fields = ["email_verified", "role"].into_iter().chain(to_one_tenant.then_some("tenant"));
        fields.fold(self, Plan::without)
    }

    /// Whether a column becomes the e-mail address, without which there is no user.
    pub fn has_email(&self) -> bool {
        self.columns.iter().any(|column| column.field == "email")
    }

    /// What the file's column of this name becomes: nothing, a field, or several.
    pub fn of(&self, name: &str) -> Vec<&str> {
        self.columns.iter().filter(|column| column.is_of(name)).map(|column| column.field.as_str()).collect()
    }

    /// What becomes of which column, as (column, field).
    pub fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(|column| (column.source.as_str(), column.field.as_str()))
    }
}

fn guess(name: &str) -> Option<&'static str> {
    let known = normal(name);
    exactly(name).or_else(|| GUESSES.iter().find(|(guess, _)| *guess == known).map(|(_, field)| *field))
}

/// The field that is called so.
fn exactly(name: &str) -> Option<&'static str> {
    let name = normal(name);
    fields().find(|field| normal(field) == name)
}

/// The name without what differs from file to file, accents among it.
pub(super) fn normal(name: &str) -> String {
    let letters = DecomposingNormalizerBorrowed::new_nfd().normalize(name);
    letters.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// What is said as `column=field`: the column, or the way into one, and the field. Both may have a `=` in them: a column that
/// the file has goes before one that is cut at the first.
pub fn mapping<'a>(one: &'a str, columns: &[String]) -> Option<(&'a str, &'a str)> {
    let cut = |(at, _)| (&one[..at], &one[at + 1..]);
    let is_meant = |(source, field): &(&str, &str)| {
        columns.iter().any(|name| name == source) && (field.is_empty() || is_field(field))
    };
    one.rmatch_indices('=').map(cut).find(is_meant).or_else(|| one.split_once('='))
}

fn is_field(name: &str) -> bool {
    fields().any(|known| known == name) || name.strip_prefix("metadata.").is_some_and(|key| !key.is_empty())
}

fn check(field: &str) -> Result<()> {
    if is_field(field) {
        return Ok(());
    }
    let all: Vec<&str> = fields().collect();
    Err(refuse(format!("A mapping names a field that there is not. These are: {}, metadata.KEY", all.join(", "))))
}

fn refuse(why: impl Into<String>) -> Error {
    Error::bad_request("mapping", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn plan(columns: &[&str], said: &[&str]) -> Result<Plan> {
        Plan::new(&names(columns), &names(said), None)
    }

    fn became(plan: &Plan) -> Vec<(&str, &str)> {
        plan.columns().collect()
    }

    #[test]
    fn columns_are_guessed_by_their_names_and_what_is_said_comes_first() {
        let guessed = plan(&["E-Mail", "First Name", "Surname", "DOB", "Mobile", "Shoe size"], &[]).unwrap();
        assert_eq!(
            became(&guessed),
            [
                ("E-Mail", "email"),
                ("First Name", "given_name"),
                ("Surname", "family_name"),
                ("DOB", "birthdate"),
                ("Mobile", "phone_number")
            ]
        );
        assert_eq!(guessed.ignored, ["Shoe size"]);
        let said =
            plan(&["mail", "name", "plan", "phone"], &["name=nickname", "plan=metadata.plan", "phone="]).unwrap();
        assert_eq!(became(&said), [("name", "nickname"), ("plan", "metadata.plan"), ("mail", "email")]);
        for (columns, said) in [
            (&["name"][..], &[][..]),
            (&["email"], &["mail=email"]),
            (&["email"], &["email=adress"]),
            (&["email"], &["email=metadata."]),
            (&["email"], &["email"]),
            (&["email"], &["email="]),
        ] {
            assert_eq!(plan(columns, said).unwrap_err().code(), "mapping", "{columns:?} {said:?}");
        }
    }

    #[test]
    fn a_weight_is_guessed_only_where_its_name_says_that_it_is_in_pounds() {
        let files = [
            ("Weight", None),
            ("Weight (kg)", None),
            ("Weight (lb)", Some("currentWeight")),
            ("weight_lbs", Some("currentWeight")),
            ("Weight, pounds", Some("currentWeight")),
            ("Current weight", Some("currentWeight")),
        ];
        for (name, field) in files {
            assert_eq!(plan(&["email", name], &[]).unwrap().of(name).first().copied(), field, "{name}");
        }
    }

    #[test]
    fn columns_are_guessed_in_the_languages_in_which_people_write_them() {
        for (columns, fields) in [
            (
                &["E-Mail-Adresse", "Vorname", "Nachname", "Geburtsdatum", "Telefon"][..],
                &["email", "given_name", "family_name", "birthdate", "phone_number"][..],
            ),
            (
                &["Adresse e-mail", "Prénom", "Nom", "Date de naissance", "Téléphone"],
                &["email", "given_name", "family_name", "birthdate", "phone_number"],
            ),
            (
                &["Correo electrónico", "Nombre", "Apellidos", "Fecha de nacimiento", "Móvil"],
                &["email", "given_name", "family_name", "birthdate", "phone_number"],
            ),
            (
                &["E-mail", "Nome", "Cognome", "Data di nascita", "Cellulare"],
                &["email", "given_name", "family_name", "birthdate", "phone_number"],
            ),
            (
                &["E-mail", "Nome", "Sobrenome", "Data de nascimento", "Celular"],
                &["email", "given_name", "family_name", "birthdate", "phone_number"],
            ),
            (
                &["E-mailadres", "Voornaam", "Achternaam", "Geboortedatum", "Telefoonnummer"],
                &["email", "given_name", "family_name", "birthdate", "phone_number"],
            ),
        ] {
            let guessed = plan(columns, &[]).unwrap_or_else(|e| panic!("{columns:?}: {e}"));
            let expected: Vec<_> = columns.iter().copied().zip(fields.iter().copied()).collect();
            assert_eq!(became(&guessed), expected);
        }
        let decomposed = "Pre\u{301}nom";
        assert_eq!(plan(&["email", decomposed], &[]).unwrap().of(decomposed), ["given_name"], "however it is written");
    }

    #[test]
    fn a_file_that_is_only_like_an_export_keeps_the_columns_that_are_called_as_fields_are() {
        let columns = ["user_id", "email", "email_verified", "Birthdate", "allergies", "mobile"];
        let alike = plan(&columns, &[]).unwrap();
        assert_eq!(alike.preset, Some(Preset::Auth0));
        assert_eq!(
            ["user_id", "Birthdate", "allergies"].map(|name| alike.of(name)),
            [["externalId"], ["birthdate"], ["allergies"]]
        );
        assert_eq!(alike.ignored, ["mobile"]);
        let named = Plan::new(&names(&columns), &[], Some(Preset::Auth0)).unwrap();
        assert_eq!(named.ignored, ["Birthdate", "allergies", "mobile"], "who names it means its columns");
        let supabase = plan(&["email", "aud", "role", "email_confirmed_at", "zoneinfo"], &[]).unwrap();
        assert_eq!((supabase.preset, supabase.of("zoneinfo")), (Some(Preset::Supabase), vec!["zoneinfo"]));
        assert_eq!(supabase.ignored, ["role", "aud"], "a role of the database there");
        let said = plan(&["email", "aud", "role", "email_confirmed_at"], &["role=role", "aud="]).unwrap();
        assert_eq!((said.of("role"), said.ignored.len()), (vec!["role"], 0));
    }

    #[test]
    fn a_mapping_names_its_column_whatever_that_is_called() {
        let columns = ["email", "BMI", "BMI (=kg/m²)", "a.b"];
        let said = plan(&columns, &["BMI (=kg/m²)=externalId", "BMI=metadata.x=y", "a.b="]).unwrap();
        assert_eq!(became(&said), [("BMI (=kg/m²)", "externalId"), ("BMI", "metadata.x=y"), ("email", "email")]);
        let said = plan(&columns, &["BMI (=kg/m²)=", "BMI (=kg/m²).x=metadata.x"]);
        assert_eq!(said.unwrap_err().code(), "mapping", "a way into a column ends at the first sign");
    }
}
