//! The executable: hands over to the library.

fn main() -> std::process::ExitCode {
    barge::cmd::main()
}
