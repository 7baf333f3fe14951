# What developers run. Every recipe is a line that works without `just` as well.

# Everything that CI checks.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
    cargo deny check
    tests/run

# All tests that this machine can run, or those whose name contains NAME.
test *NAME:
    tests/run {{NAME}}

# Two thousand random walks; every one ends with the host as people left it. `HOLDFAST_SEED=N just walk` walks one again.
walk WALKS='2000':
    HOLDFAST_WALKS={{WALKS}} cargo test --release -p holdfast-tests --test walk --test walk_pairs -- --nocapture

# The newcomer's tour.
demo *ARGS:
    cargo run --release -p holdfast -- demo {{ARGS}}

# Three hundred embedded hosts, with the memory and the traffic of each command.
fleet:
    cargo run --release -p holdfast -- demo --hosts 300 -v

# The static agent that hosts get: target/x86_64-unknown-linux-gnu/agent/holdfast-agent.
agent:
    RUSTFLAGS='-C target-feature=+crt-static' cargo build -p holdfast-agent --profile agent --target x86_64-unknown-linux-gnu

# The static agent's size and the idle memory of its daemon.
agent-size: agent
    tests/agent-size target/x86_64-unknown-linux-gnu/agent/holdfast-agent

# Two thousand hosts by one ssh-agent, and 20,000 hashed known_hosts lines for a hundred: what they take.
reach:
    HOLDFAST_HOSTS=2000 HOLDFAST_LINES=20000 cargo test --release -p holdfast-tests --test reach -- --nocapture --test-threads 1 agent hashed
