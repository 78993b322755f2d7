#!/bin/bash
# Builds images of real projects with real package managers, and runs what comes out.
#
#   benches/projects.sh [NAME...]      nginx, python, node, rust, go; all by default
#
# For each: the time of a first build and of one with nothing changed, and whether what was built answers.
# The base image is made by debootstrap, all else comes from the registries that apt, pip, npm and cargo of
# this machine use; their certificates are passed on as a secret. Where the tool chain is larger than the
# project (node, rust) it is this machine's own: a named context, or a volume. Root runs it as root, and again
# as the user `barge-test` if there is one; others run it as themselves with BASE=FILE, an archive of a
# Debian. BARGE=FILE builds with that program.
set -euo pipefail
export LC_ALL=C
projects=("$@")
[ ${#projects[@]} -gt 0 ] || projects=(nginx python node rust go)
self=$(readlink -f "$0")
cd "$(dirname "$0")/.."

work=$(mktemp -d /tmp/barge-projects.XXXXXX)
chmod 755 "$work"
# Without root it is somewhere else, and told which executable.
[ -n "${BARGE:-}" ] || . benches/executable.sh
barge() { "$work/barge" --root "$work/root" --runroot "$work/run" "$@"; }
finish() {
    barge rm -af >/dev/null 2>&1 || true
    # Without root, what is in the store belongs to others.
    [ "$(id -u)" -eq 0 ] || barge unshare rm -rf "$work/root" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
install -m 755 "$BARGE" "$work/barge"
now() { local t=$EPOCHREALTIME; echo $((${t%.*} * 1000000 + 10#${t#*.})); }

base=${BASE:-}
if [ -z "$base" ]; then
    [ "$(id -u)" -eq 0 ] || { echo "this needs root, or BASE=FILE" >&2; exit 1; }
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed -n 1p)
    base=$work/base.tar
    debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" "$mirror" >"$work/log"
    tar -C "$work/debian" --exclude=./dev/* -cf "$base" .
    chmod 644 "$base"
fi
barge import -q "$base" debian >/dev/null

certificates=/etc/ssl/certs/ca-certificates.crt
secret=(--secret "id=ca,src=$certificates")
apt='--mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked'
install='rm -f /etc/apt/apt.conf.d/docker-clean; apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends'
failed=0

project() { # project NAME FLAGS...: builds what is in $work/NAME, twice
    local name=$1 start first again
    shift
    start=$(now)
    barge build --network=host -t "$name" "${secret[@]}" "$@" "$work/$name" >"$work/log" 2>&1 ||
        { tail -n 30 "$work/log" >&2; echo "$name: cannot be built" >&2; failed=1; return 1; }
    first=$((($(now) - start) / 1000))
    start=$(now)
    barge build -q --network=host -t "$name" "${secret[@]}" "$@" "$work/$name" >/dev/null
    again=$((($(now) - start) / 1000))
    printf '%-8s built in %6s ms, again in %4s ms, %s\n' "$name" "$first" "$again" \
        "$(barge images --format '{{.Size}}' "$name")"
}
answers() { # answers NAME WANTED COMMAND...: what runs says what is wanted
    local name=$1 wanted=$2 got
    shift 2
    got=$("$@" 2>&1) || true
    if [[ $got != *"$wanted"* ]]; then
        echo "$name: said '$got', not '$wanted'" >&2
        failed=1
    fi
}
run() { barge run --rm --network=none "$@"; }

for name in "${projects[@]}"; do
    mkdir "$work/$name"
    case $name in
        nginx)
            cat >"$work/nginx/Dockerfile" <<END
FROM debian
RUN $apt $install nginx-light
RUN ln -sf /dev/stdout /var/log/nginx/access.log && ln -sf /dev/stderr /var/log/nginx/error.log
COPY <<PAGE /var/www/html/index.html
served
PAGE
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
END
            project nginx || continue
            barge run -d --name web -p 127.0.0.1:18080:80 nginx >/dev/null
            answers nginx served curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:18080/
            barge rm -f web >/dev/null ;;
        python)
            cat >"$work/python/Dockerfile" <<END
FROM debian AS base
RUN $apt $install python3 python3-venv
FROM base AS packages
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /venv && /venv/bin/pip install --cert /run/secrets/ca -q -r requirements.txt
FROM base
ENV PATH=/venv/bin:\$PATH
COPY --from=packages /venv /venv
COPY . /app
ENTRYPOINT ["python", "/app/app.py"]
END
            echo 'flask==3.0.3' >"$work/python/requirements.txt"
            cat >"$work/python/app.py" <<'END'
from flask import Flask
app = Flask(__name__)
app.route("/")(lambda: "served by flask")
print(app.test_client().get("/").text)
END
            project python || continue
            answers python "served by flask" run python ;;
        node)
            cat >"$work/node/Dockerfile" <<END
FROM debian AS base
COPY --from=node /usr/bin/node /usr/bin/node
FROM base AS modules
COPY --from=node /usr/lib/node_modules/npm /usr/lib/node_modules/npm
WORKDIR /app
COPY package.json .
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.npm \
    node /usr/lib/node_modules/npm/bin/npm-cli.js install --no-audit --no-fund --cafile /run/secrets/ca
FROM base
WORKDIR /app
COPY --from=modules /app/node_modules node_modules
COPY . .
CMD ["node", "app.js"]
END
            echo '{"name":"app","version":"1.0.0","dependencies":{"express":"4.19.2"}}' >"$work/node/package.json"
            cat >"$work/node/app.js" <<'END'
const app = require("express")();
app.get("/", (_, answer) => answer.send("served by express"));
const server = app.listen(8080, async () => {
  console.log(await (await fetch("http://127.0.0.1:8080/")).text());
  server.close();
});
END
            mkdir -p "$work/tools/usr/bin" "$work/tools/usr/lib/node_modules"
            cp -L "$(command -v node)" "$work/tools/usr/bin/node"
            cp -rL "$(npm root -g)/npm" "$work/tools/usr/lib/node_modules/npm"
            project node --build-context "node=$work/tools" || continue
            answers node "served by express" run node ;;
        rust)
            tools=${RUST:-$(rustc --print sysroot)}
            cat >"$work/rust/Dockerfile" <<END
FROM debian AS build
RUN $apt $install gcc libc6-dev
WORKDIR /src
COPY . .
RUN --mount=type=secret,id=ca --mount=type=cache,target=/cargo --mount=type=cache,target=/src/target \
    CARGO_HOME=/cargo CARGO_HTTP_CAINFO=/run/secrets/ca PATH=/rust/bin:\$PATH cargo build --quiet && \
    cp target/debug/app /app
FROM debian
COPY --from=build /app /usr/local/bin/app
CMD ["app"]
END
            mkdir "$work/rust/src"
            printf '[package]\nname = "app"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nitoa = "1"\n' >"$work/rust/Cargo.toml"
            echo 'fn main() { println!("counted to {}", itoa::Buffer::new().format(41 + 1)) }' >"$work/rust/src/main.rs"
            project rust -v "$tools:/rust:ro" || continue
            answers rust "counted to 42" run rust ;;
        go)
            cat >"$work/go/Dockerfile" <<END
FROM debian AS build
RUN $apt $install golang-go
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/go-build CGO_ENABLED=0 go build -o /app .
FROM scratch
COPY --from=build /app /app
USER 1000
ENTRYPOINT ["/app"]
END
            printf 'module app\n\ngo 1.19\n' >"$work/go/go.mod"
            printf 'package main\n\nimport ("fmt"; "os")\n\nfunc main() { fmt.Println("user", os.Getuid()) }\n' >"$work/go/main.go"
            project go || continue
            answers go "user 1000" run go ;;
        *) echo "there is no project $name" >&2; failed=1 ;;
    esac
done

if [ "$(id -u)" -eq 0 ] && id barge-test >/dev/null 2>&1; then
    echo "without root:"
    # That user may not be able to go where these are.
    cp "$self" "$work/projects.sh"
    install -d -o barge-test -g barge-test -m 700 "$work/home" "$work/runtime"
    tools=
    if [[ " ${projects[*]} " == *" rust "* ]]; then
        tools=$work/rust-tools
        cp -a "${RUST:-$(rustc --print sysroot)}" "$tools"
        chmod -R a+rX "$tools"
    fi
    (
        cd "$work/home"
        setpriv --reuid=barge-test --regid=barge-test --init-groups env -i \
            PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME="$work/home" USER=barge-test \
            XDG_RUNTIME_DIR="$work/runtime" BARGE="$work/barge" BASE="$base" RUST="$tools" \
            "$work/projects.sh" "${projects[@]}"
    ) || failed=1
fi
[ "$failed" -eq 0 ]
