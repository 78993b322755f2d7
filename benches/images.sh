#!/bin/bash
# Measures what barge does with images and registries beside pipelines of plain tools and podman.
#
#   benches/images.sh [ROUNDS [TITLE...]]      3 rounds by default
#
# With titles, or parts of them as in `zstd`, only these are measured. BARGE=FILE measures this
# executable in place of a new release.
#
# The image has eight layers of this machine's own files, about 500 MB. Everything that is written
# goes to a new ext4 on a loop device each time: removing one tree makes the next slow on file
# systems without a journal. What barge pulls and loads is brought to the disk in the background; the rows
# with `sync` wait for it. Registries are on loopback. Rounds go through all candidates in turn;
# wall times are medians, CPU is that of this script's control group.
# Root measures. Needs curl, docker-registry, e2fsprogs, skopeo, zstd; podman and time if they are there.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3}
titles=("${@:2}")
export LC_ALL=C

if [ "$(id -u)" -ne 0 ]; then
    echo "this needs root" >&2
    exit 1
fi
if [ -z "${BENCH_MOUNTS:-}" ]; then
    BENCH_MOUNTS=own exec unshare --mount "$0" "$@"
fi

work=$(mktemp -d /tmp/barge-bench.XXXXXX)
registries=()
finish() {
    [ ${#registries[@]} -eq 0 ] || kill "${registries[@]}" 2>/dev/null || true
    umount "$work/fs/podman/overlay" 2>/dev/null || true
    umount "$work/fs" 2>/dev/null || true
    [ ! -d "$work/group" ] || leave_group
    rm -rf "$work"
}
trap finish EXIT

. benches/executable.sh
cp "$BARGE" "$work/barge"

. benches/measure.sh

# asked TITLE: prints the title if this is to be measured.
asked() {
    local part
    for part in "${titles[@]:-}"; do
        [[ $1 != *"$part"* ]] || { title "$1"; return; }
    done
    return 1
}

# --- the image, as an OCI layout
mkdir -p "$work/oci/blobs/sha256" "$work/fs"
find /usr -xdev -type f -size -4M -printf '%s %p\n' 2>/dev/null | sort -k2 |
    awk -v d="$work" '{ total += $1; if (total < 500e6) print substr($0, index($0, " ") + 1) > (d "/list." (NR % 8)) }'
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/oci/oci-layout"
blob() { # blob FILE: moves it into the layout, prints digest and size
    local hash size
    hash=$(sha256sum "$1" | cut -d' ' -f1) size=$(stat -c %s "$1")
    mv "$1" "$work/oci/blobs/sha256/$hash"
    echo "$hash $size"
}
layers= diffs= urls=()
for list in "$work"/list.*; do
    tar --no-recursion --numeric-owner -cf "$work/layer.tar" -T "$list" 2>/dev/null
    diffs+="${diffs:+,}\"sha256:$(sha256sum "$work/layer.tar" | cut -d' ' -f1)\""
    gzip -6 -n "$work/layer.tar"
    read -r hash size < <(blob "$work/layer.tar.gz")
    layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$hash\",\"size\":$size}"
    urls+=("blobs/sha256:$hash")
done
printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$(dpkg --print-architecture)" "$diffs" >"$work/config"
read -r hash size < <(blob "$work/config")
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
    "$hash" "$size" "$layers" >"$work/manifest"
read -r hash size < <(blob "$work/manifest")
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"1"}}]}' \
    "$hash" "$size" >"$work/oci/index.json"

# start_registry PORT DIR: starts one, and waits until it answers.
start_registry() {
    printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
        "$2" "$1" >"$work/registry.$1.yml"
    docker-registry serve "$work/registry.$1.yml" >"$work/registry.$1.log" 2>&1 &
    registries+=($!)
    until curl -sf "http://127.0.0.1:$1/v2/" >/dev/null; do
        kill -0 "${registries[-1]}"
    done
}
port=$((20000 + $$ % 20000))
here=127.0.0.1:$port
start_registry "$port" "$work/storage"
skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$work/oci:1" "docker://$here/big:1"
rm -rf "$work/oci"

# Stores that stay: what is pushed and saved comes from there.
warm=("$work/barge" --root "$work/warm" --runroot "$work/warm.run")
"${warm[@]}" pull -q "$here/big:1" >/dev/null
"${warm[@]}" push -q --compression-format zstd "$here/big:1" "$here/zstd:1" >/dev/null
zstd_urls=()
while read -r hash; do
    zstd_urls+=("blobs/$hash")
done < <(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$here/v2/zstd/manifests/1" |
    grep -o '"sha256:[0-9a-f]*"' | tr -d '"' | tail -n +2)

podman=() podman_warm=()
if command -v podman >/dev/null; then
    podman=(podman --storage-driver overlay --root "$work/fs/podman" --runroot "$work/fs/podman.run")
    podman_warm=(podman --storage-driver overlay --root "$work/podman" --runroot "$work/podman.run")
    "${podman_warm[@]}" pull -q --tls-verify=false "$here/big:1" >/dev/null
fi
# beside_podman NAME=FUNCTION...: as interleave; leaves out what needs podman where there is none.
beside_podman() {
    local entry entries=()
    for entry in "$@"; do
        [[ $entry == podman* && ${#podman[@]} -eq 0 ]] || entries+=("$entry")
    done
    interleave "${entries[@]}"
}

fresh_disk() {
    local device
    umount "$work/fs/podman/overlay" 2>/dev/null || true
    # barge brings to the disk in the background what it has pulled.
    while mountpoint -q "$work/fs"; do umount "$work/fs" 2>/dev/null || true; done
    rm -f "$work/disk"
    truncate -s 8G "$work/disk"
    mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk"
    # Past the page cache below, as on a disk: what is written is not copied and flushed twice.
    device=$(losetup --find --show --direct-io=on "$work/disk")
    mount "$device" "$work/fs"
    # Takes effect when it is unmounted.
    losetup --detach "$device"
    sync
}

# unpack DECOMPRESSOR URL...: what is compared with, all layers at once.
unpack() {
    local tool=$1 url jobs=()
    shift
    for url in "$@"; do
        mkdir -p "$work/fs/plain/${#jobs[@]}"
        { curl -sf "http://$here/v2/${url%% *}" | $tool | tar -C "$work/fs/plain/${#jobs[@]}" -x; } &
        jobs+=($!)
    done
    wait "${jobs[@]}"
}
cold=("$work/barge" --root "$work/fs/s" --runroot "$work/fs/r")

before_each() { fresh_disk; }
plain_gzip() { unpack gunzip "${urls[@]/#/big/}"; }
flushed_gzip() { plain_gzip; sync -f "$work/fs"; }
pull_gzip() { "${cold[@]}" pull -q "$here/big:1"; }
podman_gzip() { "${podman[@]}" pull -q --tls-verify=false "$here/big:1"; }
if asked "cold pull, eight gzip layers"; then
    beside_podman "curl | gunzip | tar"=plain_gzip "the same; sync"=flushed_gzip barge=pull_gzip podman=podman_gzip
fi

plain_zstd() { unpack "zstd -dc" "${zstd_urls[@]/#/zstd/}"; }
flushed_zstd() { plain_zstd; sync -f "$work/fs"; }
pull_zstd() { "${cold[@]}" pull -q "$here/zstd:1"; }
podman_zstd() { "${podman[@]}" pull -q --tls-verify=false "$here/zstd:1"; }
if asked "cold pull, eight zstd layers"; then
    beside_podman "curl | zstd | tar"=plain_zstd "the same; sync"=flushed_zstd barge=pull_zstd podman=podman_zstd
fi

if [ -x /usr/bin/time ] && asked "most memory of a pull, KiB"; then
    for image in big zstd; do
        fresh_disk
        /usr/bin/time -f "$image %M" "${cold[@]}" pull -q "$here/$image:1" >/dev/null
    done
fi

# A registry whose storage is new each time: nothing is there already.
other=$((port + 1))
empty_registry() {
    fresh_disk
    start_registry "$other" "$work/fs/storage"
}
stop_other() {
    kill "${registries[-1]}"
    wait "${registries[-1]}" 2>/dev/null || true
    unset 'registries[-1]'
}
before_each() { [ ${#registries[@]} -eq 1 ] || stop_other; empty_registry; }
upload() { # the least: blobs as they are, all at once
    local url jobs=() place
    for url in "${urls[@]}"; do
        {
            place=$(curl -sf -X POST -D - -o /dev/null "http://127.0.0.1:$other/v2/big/blobs/uploads/" |
                tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
            curl -sf "http://$here/v2/big/$url" |
                curl -sf -X PUT -T - -H 'Content-Type: application/octet-stream' "$place&digest=${url#blobs/}" -o /dev/null
        } &
        jobs+=($!)
    done
    wait "${jobs[@]}"
}
push() { "${warm[@]}" push -q "$here/big:1" "127.0.0.1:$other/big:1"; }
podman_push() { "${podman_warm[@]}" push -q --tls-verify=false "$here/big:1" "127.0.0.1:$other/big:1"; }
if asked "push to an empty registry"; then
    beside_podman "curl | curl"=upload barge=push podman=podman_push
    stop_other
fi

before_each() { fresh_disk; }
"${warm[@]}" save -q -o "$work/archive" "$here/big:1"
copy() { cat "$work/archive" >"$work/fs/copy"; sync "$work/fs/copy"; }
save() { "${warm[@]}" save -q -o "$work/fs/archive" "$here/big:1"; sync "$work/fs/archive"; }
podman_save() { "${podman_warm[@]}" save -q -o "$work/fs/archive" "$here/big:1"; sync "$work/fs/archive"; }
if asked "save as docker-archive, to the disk"; then
    beside_podman copy=copy barge=save podman=podman_save
fi

unpack_archive() {
    local layer number=0
    mkdir "$work/fs/plain"
    tar -C "$work/fs/plain" -xf "$work/archive"
    for layer in "$work"/fs/plain/*.tar; do
        mkdir "$work/fs/plain/$((number += 1))"
        tar -C "$work/fs/plain/$number" -xf "$layer"
    done
    sync -f "$work/fs"
}
load() { "${cold[@]}" load -q -i "$work/archive"; }
podman_load() { "${podman[@]}" load -q -i "$work/archive"; }
if asked "load of that"; then
    beside_podman "tar, twice"=unpack_archive barge=load podman=podman_load
fi

before_each() { :; }
rounds=$((rounds * 10))
head_only() { curl -sfI -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$here/v2/big/manifests/1"; }
pull_again() { "${warm[@]}" pull -q "$here/big:1"; }
if asked "pull of what is here"; then
    interleave "curl of the manifest"=head_only barge=pull_again
fi

nothing() { /bin/true; }
list() { "${warm[@]}" images; }
if asked "images, 1,000 of them"; then
    mkdir "$work/tiny"
    tar -C "$work/tiny" -cf "$work/tiny.tar" .
    for ((number = 0; number < 1000; number++)); do
        "${warm[@]}" import -q --message "$number" "$work/tiny.tar" "tiny:$number" >/dev/null 2>&1
    done
    interleave nothing=nothing images=list
fi
