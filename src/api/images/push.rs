//! `POST /images/NAME/push`: images to registries.

use serde_json::json;

use super::progress::{Layers, Way};
use crate::api::lines::Lines;
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::api::{credentials, names};
use crate::engine::Engine;
use crate::engine::images::{self, PushOptions, Pushed};
use crate::error::{Error, Kind, Result};
use crate::spec::reference::Reference;

pub(super) fn push(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let tag = call.query.get("tag").map(str::to_owned);
    let whole = call.name().to_owned();
    let name = names::complete(&whole, tag.as_deref())?;
    if name.digest().is_some() {
        return Err(Error::new(Kind::Invalid, "cannot push a digest reference"));
    }
    let options = PushOptions {
        registry: credentials::of_request(call, name.registry())?,
        ..PushOptions::default()
    };
    let lines = Lines::new(call);
    let repository = name.repository();
    lines.write(&json!({ "status": format!("The push refers to repository [{repository}]") }));
    let layers = Layers::new(&lines, Way::Out, None);
    let said = |name: &Reference, pushed: &Pushed| {
        let Pushed { digest, size } = pushed;
        let tag = name.tag_or_digest();
        lines.write(&json!({ "status": format!("{tag}: digest: {digest} size: {size}") }));
        let aux = json!({ "Tag": tag, "Digest": digest, "Size": size });
        lines.write(&json!({ "progressDetail": {}, "aux": aux }));
    };
    let store = engine.store();
    let done = match tag.is_none() && !names::has_tag(&whole) {
        true => images::push_all_tags(
            store,
            &repository,
            None,
            &options,
            &layers,
            &mut |name, pushed| {
                said(name, pushed);
                Ok(())
            },
        ),
        false => images::push(store, &name.to_string(), None, &options, &layers).map(|pushed| {
            if let (Some(name), Some(pushed)) = pushed {
                said(&name, &pushed);
            }
        }),
    };
    let missing = |error: Error| match error.kind() {
        Kind::NotFound if store.images().find(&name.to_string()).is_ok_and(|it| it.is_none()) => {
            let text = match tag.as_deref() {
                Some(tag) => {
                    format!(
                        "An image does not exist locally with the tag: {}:{tag}",
                        name.familiar_repository()
                    )
                }
                None => {
                    format!(
                        "An image does not exist locally with the tag: {}",
                        name.familiar_repository()
                    )
                }
            };
            Error::new(Kind::NotFound, text)
        }
        _ => error,
    };
    let done = done.map_err(missing);
    lines.end(done)
}
