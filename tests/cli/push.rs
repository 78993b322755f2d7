//! `barge push` to a real registry, looked at by skopeo.

use serde_json::Value;

use super::support::Barge;
use super::support::registry::Registry;

/// Returns a manifest of a registry byte for byte, as skopeo gets it.
fn manifest(barge: &Barge, name: &str) -> Vec<u8> {
    let line = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    barge.other_command("skopeo", line).run().ok().stdout.clone()
}

#[test]
fn what_was_pulled_goes_back_byte_for_byte() {
    let place = Barge::new().place().clone();
    let (from, to) = (Registry::start(&place), Registry::empty(&place));
    for tag in ["1", "zstd", "plain", "docker"] {
        let barge = Barge::at(place.clone());
        let name = from.reference(&format!("box:{tag}"));
        barge.run(["pull", "-q", &name]).exits(0);
        let target = to.reference(&format!("copy:{tag}"));
        let file = barge.path_text("digest");
        let line = ["push", "--digestfile", &file, &name, &target];
        let output = barge.run(line).exits(0);
        let sent = manifest(&barge, &target);
        assert_eq!(sent, manifest(&barge, &name), "{tag}");
        let digest = super::support::layout::digest(&sent);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), digest);
        assert_eq!(output.text(), format!("{tag}: digest: {digest} size: {}", sent.len()));
        assert!(output.errors().contains("Writing manifest to image destination"));
        let parsed: Value = serde_json::from_slice(&sent).unwrap();
        for layer in parsed["layers"].as_array().unwrap() {
            let blob = layer["digest"].as_str().unwrap();
            assert!(output.errors().contains(&format!("Copying blob {blob}")), "{tag} {blob}");
        }
        // All is there now, and nothing is sent twice.
        let again = barge.run(line).exits(0);
        assert!(again.errors().contains("skipped: already exists"), "{}", again.errors());
        let other = Barge::at(place.clone());
        other
            .run(["run", "--rm", "--network=none", &target])
            .exits(0)
            .stdout("hello from a layer\n");
        barge.leaves_nothing();
    }
}
