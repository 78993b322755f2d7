//! Secrets and configs, as Docker's REST API shows them: of secrets, never what they are.

use serde_json::{Value, json};

use crate::spec::time;
use crate::store::secret::{Kept, Secret};

/// Makes the document of a secret or a config.
pub fn document(kept: Kept, it: &Secret) -> Value {
    let mut spec = json!({ "Name": it.name, "Labels": it.labels });
    if kept == Kept::Config {
        spec["Data"] = it.data.as_str().into();
    }
    if !it.driver.is_empty() {
        spec["Driver"] = json!({ "Name": it.driver, "Options": it.options });
    }
    json!({
        "ID": it.id,
        "Version": { "Index": it.version },
        "CreatedAt": time::rfc3339_short(it.created),
        "UpdatedAt": time::rfc3339_short(it.updated),
        "Spec": spec,
    })
}
