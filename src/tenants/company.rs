//! What a tenant says of itself, as the directory API names it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Facts;
use crate::field::{Context, Fault, Field, Line, choice, record};

record! {
    /// The organisation behind a tenant.
    pub struct Company = Facts.company {
        /// What the tenant is.
        "description" description: Line<256>,
        /// The name of the organisation.
        "companyName" company_name: Line<256>,
        /// Its value added tax number.
        "companyVATId" company_vat_id: Line<256>,
        /// The kind of that number.
        "companyTaxType" company_tax_type: Line<256>,
        /// Whether it pays tax.
        "companyTaxExempt" company_tax_exempt: TaxExempt,
        /// Whether it is a business.
        "isBusinessCustomer" is_business_customer: bool,
        /// Whether an invoice is on its way.
        "isInvoicePending" is_invoice_pending: bool,
        /// Where goods go: name, city, country, line1, line2, postal_code, state, type. Replaced as a whole.
        "shippingAddress" shipping_address: Address,
        /// Where invoices go: name, city, country, line1, line2, postal_code, state, type. Replaced as a whole.
        "billingAddress" billing_address: Address,
    }
}

choice! {
    /// Whether an organisation pays tax.
    pub enum TaxExempt {
        /// none
        None = "none",
        /// exempt
        Exempt = "exempt",
        /// reverse
        Reverse = "reverse",
    }
}

/// A postal address: the parts that were sent.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(Map<String, Value>);

const PARTS: [&str; 8] = ["name", "city", "country", "line1", "line2", "postal_code", "state", "type"];

impl Field for Address {
    fn parse(value: &Value, context: &Context) -> Result<Self, Fault> {
        let body = value.as_object().ok_or_else(|| Fault::kind("an object"))?;
        let mut parts = Map::new();
        for (name, part) in PARTS.iter().filter_map(|name| Some((*name, body.get(*name)?))) {
            let line = Line::<256>::parse(part, context);
            let line = line.map_err(|_| {
                Fault::rule("format", format!("must have in {name} one line of at most 256 characters"))
            })?;
            parts.insert(name.to_owned(), line.0.into());
        }
        Ok(Address(parts))
    }
    fn schema() -> Value {
        let parts: Map<String, Value> = PARTS.iter().map(|name| ((*name).to_owned(), Line::<256>::schema())).collect();
        json!({"type": "object", "properties": parts})
    }
}

crate::secret::redacted!(Address);
