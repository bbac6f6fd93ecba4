//! A container image with Parrot and its load generator alone, as an image layout of the Open Container Initiative.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md>

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::archive;
use crate::release::Release;
use crate::tree::Entry;

/// The user and the group of the process. Kubernetes can check only a number that it is not root.
const USER: &str = "65532:65532";

/// The files of the layout.
pub(crate) fn layout(release: &Release) -> Result<Vec<Entry>> {
    let files = [
        Entry::file("LICENSE-APACHE", "LICENSE-APACHE")?,
        Entry::file("LICENSE-MIT", "LICENSE-MIT")?,
        Entry::program("parrot", release.program("parrot")?),
        // For the Job that loads a server from many hosts.
        Entry::program("parrot-load", release.program("parrot-load")?),
    ];
    let layer = archive::tar("", &files, release.date)?;
    let created = release.date.to_string();
    let labels = json!({
        "org.opencontainers.image.title": "parrot",
        "org.opencontainers.image.description": parrot_cli::manual::PURPOSE,
        "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        "org.opencontainers.image.version": release.version,
    });
    let config = json!({
        "created": created,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": USER,
            "Entrypoint": ["/parrot"],
            "ExposedPorts": { "1512/tcp": {}, "1512/udp": {}, "9512/tcp": {} },
            "StopSignal": "SIGTERM",
            "Labels": labels,
        },
        // The digest of what is in the layer, uncompressed.
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        "history": [{ "created": created, "comment": "cargo xtask dist" }],
    });
    let (layer, config) =
        (Blob::new("layer.v1.tar+gzip", archive::gzip(&layer)?), Blob::json("config.v1+json", &config)?);
    let manifest = Blob::json(
        "manifest.v1+json",
        &json!({
            "schemaVersion": 2,
            "mediaType": media_type("manifest.v1+json"),
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
            "annotations": labels,
        }),
    )?;
    let mut described = manifest.descriptor();
    described["platform"] = json!({ "architecture": architecture(), "os": "linux" });
    described["annotations"] = json!({ "org.opencontainers.image.ref.name": release.version });
    let index = json!({ "schemaVersion": 2, "mediaType": media_type("index.v1+json"), "manifests": [described] });

    let mut entries: Vec<Entry> = [layer, config, manifest].into_iter().map(Blob::into_entry).collect();
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    entries.push(Entry::new("index.json", serde_json::to_vec(&index)?));
    entries.push(Entry::new("oci-layout", serde_json::to_vec(&json!({ "imageLayoutVersion": "1.0.0" }))?));
    Ok(entries)
}

/// A part of the image, which is named by the digest of its bytes.
struct Blob {
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, bytes: Vec<u8>) -> Blob {
        Blob { kind, bytes }
    }

    fn json(kind: &'static str, value: &Value) -> Result<Blob> {
        Ok(Blob::new(kind, serde_json::to_vec(value)?))
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": media_type(self.kind), "digest": digest(&self.bytes), "size": self.bytes.len() })
    }

    fn into_entry(self) -> Entry {
        Entry::new(format!("blobs/sha256/{}", hex(&self.bytes)), self.bytes)
    }
}

fn media_type(kind: &str) -> String {
    format!("application/vnd.oci.image.{kind}")
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

/// The SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The processor as images name it, which is as Go does.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn entries() -> Vec<Entry> {
        let programs = ["parrot", "parrot-load"].map(|name| (name.to_owned(), b"a program".to_vec())).into();
        layout(&Release { version: "1.2.3", date: Timestamp::UNIX_EPOCH, programs, is_static_linux: true }).unwrap()
    }

    fn parsed(entries: &[Entry], path: &str) -> Value {
        let entry = entries.iter().find(|entry| entry.path == path).unwrap_or_else(|| panic!("no {path}"));
        serde_json::from_slice(&entry.contents).unwrap()
    }

    /// The file that a descriptor names.
    fn blob(descriptor: &Value) -> String {
        let digest = descriptor["digest"].as_str().unwrap();
        format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap())
    }

    #[test]
    fn every_descriptor_names_a_file_of_its_size() {
        let entries = entries();
        let index = parsed(&entries, "index.json");
        let manifest = parsed(&entries, &blob(&index["manifests"][0]));
        let described = [&index["manifests"][0], &manifest["config"], &manifest["layers"][0]];
        for descriptor in described {
            let file = entries.iter().find(|entry| entry.path == blob(descriptor)).unwrap();
            assert_eq!(descriptor["size"], file.contents.len());
            assert_eq!(descriptor["digest"], digest(&file.contents));
        }
        assert_eq!(entries.len(), described.len() + 2, "the rest is index.json and oci-layout");
    }

    #[test]
    fn an_image_of_the_same_release_has_the_same_bytes() {
        let bytes = |entries: Vec<Entry>| archive::tar("", &entries, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(hex(&bytes(entries())), hex(&bytes(entries())));
    }
}
