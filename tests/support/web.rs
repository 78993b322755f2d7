//! An image of nginx and redis.

use serde_json::json;

use super::layout::Tar;
use super::packages::Recipe;

/// What starts in the image: redis in the background, nginx in the foreground.
const START: &str = "#!/bin/sh
set -e
redis-server --daemonize yes --save '' --dir /tmp --bind 127.0.0.1
exec nginx -g 'daemon off;'
";

const PAGE: &str = "<html><body>served from a container</body></html>\n";

/// Debian, what both need, nginx, redis, the configuration.
pub(super) fn recipe() -> Recipe {
    let own = Tar::new()
        .directory("srv/", 0o755)
        .file("srv/start", 0o755, START)
        .file("etc/nginx/conf.d/page.conf", 0o644, "server { listen 80; root /srv/page; }\n")
        .directory("srv/page/", 0o755)
        .file("srv/page/index.html", 0o644, PAGE)
        .file("usr/share/.wh.doc", 0o644, "");
    let config = json!({
        "Cmd": ["/srv/start"],
        "ExposedPorts": { "80/tcp": {}, "6379/tcp": {} },
        "StopSignal": "SIGQUIT",
    });
    Recipe {
        packages: &["nginx", "redis-server", "redis-tools"],
        layers: &[&["nginx"], &["redis"]],
        own,
        config,
    }
}
