//! An image of PostgreSQL and Python.

use serde_json::json;

use super::layout::Tar;
use super::packages::Recipe;

/// What starts in the image: the database, made at the first start.
const START: &str = "#!/bin/sh
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
[ -e \"$PGDATA/PG_VERSION\" ] || \"$bin/initdb\" --username=app --auth=trust --no-sync
exec \"$bin/postgres\" -k /tmp -c listen_addresses='*'
";

/// A client: adds a row and shows all.
const ASK: &str = "
import hashlib, psycopg2, sys
with psycopg2.connect(host='127.0.0.1', user='app', dbname='postgres') as db:
    at = db.cursor()
    at.execute('CREATE TABLE IF NOT EXISTS seen (number serial, word text)')
    at.execute('INSERT INTO seen (word) VALUES (%s)', (sys.argv[1],))
    at.execute('SELECT number, word FROM seen ORDER BY number')
    for number, word in at.fetchall():
        print(number, word, hashlib.sha256(word.encode()).hexdigest()[:8])
";

/// Debian, what both need, Python, PostgreSQL, the configuration.
pub(super) fn recipe() -> Recipe {
    let own = Tar::new().directory("srv/", 0o755).file("srv/start", 0o755, START).file(
        "srv/ask.py",
        0o644,
        ASK,
    );
    let config = json!({
        "Cmd": ["/srv/start"],
        "Env": ["PGDATA=/tmp/data"],
        "ExposedPorts": { "5432/tcp": {} },
        "StopSignal": "SIGINT",
        "User": "www-data",
    });
    Recipe {
        packages: &["postgresql-15", "python3", "python3-psycopg2"],
        layers: &[&["python3", "libpython3"], &["postgresql"]],
        own,
        config,
    }
}
