//! `login` and `logout`: who we are to registries.

pub use crate::image::registry::{
    CredentialFiles, Login, LoginDialog, LoginOptions, Logout, check_login, logged_in,
    logged_in_as, login, logout, logout_all,
};
