//! `barge image tree`

use clap::Args;

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::engine::images::{self, LayerNode};
use crate::error::Result;
use crate::spec::reference::Reference;
use crate::spec::size::LongSize;

/// Show the layers of an image
#[derive(Args, Debug)]
pub(crate) struct ImageTree {
    /// Show the images that are built on it
    #[arg(long)]
    whatrequires: bool,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

impl Act for ImageTree {
    const ONLY_HERE: &'static str = "Docker's API does not tell the layers of an image apart";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let tree = images::tree(engine.store(), &self.image, self.whatrequires)?;
        let image = &tree.named.image;
        let mut text = format!(
            "Image ID: {}\nTags:     {}\nSize:     {}\n",
            image.id.short(),
            list(&tree.named.names),
            LongSize(image.size)
        );
        if tree.layers.is_empty() {
            text.push_str("No Image Layers");
        } else {
            text.push_str("Image Layers\n");
            draw(&mut text, "", &tree.layers);
        }
        world.out.line(&text)?;
        Ok(Status::SUCCESS)
    }
}

/// Draws nodes below each other, and what is above each layer to the right of it.
fn draw(text: &mut String, indent: &str, nodes: &[LayerNode]) {
    for (index, node) in nodes.iter().enumerate() {
        let (branch, below) =
            if index + 1 < nodes.len() { ("├── ", "│   ") } else { ("└── ", "    ") };
        let id = node.chain.hex();
        let id = id.get(..12).unwrap_or(id);
        text.push_str(&format!("{indent}{branch}ID: {id} Size: {:>7}", LongSize(node.size)));
        if !node.top_of.is_empty() {
            text.push_str(&format!(" Top Layer of: {}", list(&node.top_of)));
        }
        text.push('\n');
        draw(text, &format!("{indent}{below}"), &node.above);
    }
}

fn list(names: &[Reference]) -> String {
    let names: Vec<String> = names.iter().map(Reference::to_string).collect();
    format!("[{}]", names.join(" "))
}
