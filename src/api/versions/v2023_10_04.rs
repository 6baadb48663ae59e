//! 2023-10-04 (seed `partner-create-user`).

use super::{Shapes, Version};

pub(super) const VERSION: Version = Version {
    date: "2023-10-04",
    note: "Creating a user requires diabetes, glp1drugs, paymentPlan, planStartDate and medicalClearance. \
           currentWeight replaces weight, which is ignored.",
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
