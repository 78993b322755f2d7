//! Secrets, as Docker's REST API shows them: never what they are.

use serde_json::{Value, json};

use crate::spec::time;
use crate::store::secret::Secret;

/// Makes the document of a secret.
pub fn document(secret: &Secret) -> Value {
    let mut spec = json!({ "Name": secret.name, "Labels": secret.labels });
    if !secret.driver.is_empty() {
        spec["Driver"] = json!({ "Name": secret.driver, "Options": secret.options });
    }
    json!({
        "ID": secret.id,
        // Docker counts the changes of a swarm; here a secret is replaced whole.
        "Version": { "Index": 1 },
        "CreatedAt": time::rfc3339_short(secret.created),
        "UpdatedAt": time::rfc3339_short(secret.updated),
        "Spec": spec,
    })
}
