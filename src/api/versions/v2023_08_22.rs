//! 2023-08-22 (seed `partner-update-user`; contract item 18 for what create required).

use super::{Shapes, Version};

pub(super) const VERSION: Version = Version {
    date: "2023-08-22",
    note: "Creating a user takes sex, the programme's fields and the doctor; pregnant is optional. Updating a user \
           changes diabetes, glp1drugs, doctorFullname, medicalClearanceDescription and metadata, and no longer \
           firstname, lastname, phonenumber, dateOfBirth, gender, height, weight and pregnant, which are \
           ignored.",
    affects: "Whoever creates users with gender alone may go on; whoever updates names, phone numbers, days of birth or \
              measures has to do that over the directory API. Webhooks begin to tell of subscriptions.",
    before: |shapes: &mut Shapes| {
        shapes.create.replace(&[
            "email",
            "firstname",
            "lastname",
            "phonenumber",
            "dateOfBirth",
            "gender|sex",
            "sex?",
            "height",
            "weight",
            "pregnant",
            "metadata?",
        ]);
        shapes.update.replace(&[
            "email",
            "firstname?",
            "lastname?",
            "phonenumber?",
            "dateOfBirth?",
            "gender?",
            "height?",
            "weight?",
            "pregnant?",
            "metadata?",
        ]);
    },
    // Until then there was no plan, so nothing is told of one.
    event: |event| {
        if event["type"].as_str().is_some_and(|kind| kind.starts_with("subscription.")) {
            return false;
        }
        let Some(fields) = event["data"]["fields"].as_array_mut() else { return true };
        let known = fields.len();
        fields.retain(|name| name != "subscription");
        fields.len() == known || !fields.is_empty() || event["type"] != "user.updated"
    },
};
