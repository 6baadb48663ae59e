//! 2023-10-04 (seed `partner-create-user`).

use super::{Shapes, Version};

pub(super) const VERSION: Version = Version {
    date: "2023-10-04",
    note: "Creating a user requires diabetes, glp1drugs, paymentPlan, planStartDate and medicalClearance. \
           currentWeight replaces weight, which is ignored.",
    affects: "Whoever creates users: send the five fields that are required now, and currentWeight in place of weight. \
              Updating users and what webhooks tell are the same as before.",
    before: |shapes: &mut Shapes| {
        shapes.create.change(&[
            "diabetes?",
            "glp1drugs?",
            "paymentPlan?",
            "planStartDate?",
            "medicalClearance?",
            "currentWeight|weight",
        ]);
        shapes.create.insert_before("currentWeight", "weight?");
    },
    event: |_| true,
};
