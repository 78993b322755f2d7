//! How a registry is told who asks: what its refusals demand, and tokens from token servers.

use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::challenge::{self, Challenge};
use super::client::discreet_client;
use super::credentials::Credentials;
use super::endpoint::is_loopback;
use super::{IDLE_TIMEOUT, Repository, failure};
use crate::error::{Error, Kind, Result};

/// What a registry is shown with a request.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Authorization {
    None,
    Basic,
    Bearer(String),
}

/// What a token server answers.
pub(super) struct Token {
    /// What the registry is shown.
    pub(super) text: String,
    /// With what further ones can be got, in place of the password.
    pub(super) refresh: Option<String>,
}

impl Repository {
    /// Does what a refusal asks for; `false` if nothing new can be shown.
    pub(super) async fn prove(&self, refusal: &Response, used: &Authorization) -> Result<bool> {
        let mut authorization = self.authorization.write().await;
        if *authorization != *used {
            // Another request has done it meanwhile.
            return Ok(true);
        }
        // Another host, to which an answer has led, has no say in where our secrets go.
        let own = self.base.read().await.as_ref().map(Url::origin);
        if self.credentials.is_some() && own != Some(refusal.url().origin()) {
            return Ok(false);
        }
        let challenges: Vec<Challenge> = refusal
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect();
        for challenge in &challenges {
            if let Challenge::Bearer { realm, service, scope } = challenge {
                let token = self.token(realm, service.as_deref(), scope.as_deref(), false).await?;
                *authorization = Authorization::Bearer(token.text);
                return Ok(true);
            }
        }
        let has_password = matches!(self.credentials, Some(Credentials::Password(..)));
        if challenges.contains(&Challenge::Basic) && has_password && *used != Authorization::Basic {
            *authorization = Authorization::Basic;
            return Ok(true);
        }
        Ok(false)
    }

    /// Returns the address of a token server that may be told who we are.
    fn token_server(&self, realm: &str) -> Result<Url> {
        let invalid = || {
            let host = &self.endpoint.host;
            Error::new(
                Kind::Invalid,
                format!("registry `{host}` names a bad token server `{realm}`"),
            )
        };
        let url = Url::parse(realm).map_err(|_| invalid())?;
        let host = url.host_str().ok_or_else(invalid)?;
        let encrypted = url.scheme() == "https";
        if !encrypted && self.credentials.is_some() && !self.endpoint.plain && !is_loopback(host) {
            return Err(invalid().hint("it would get your password without encryption"));
        }
        Ok(url)
    }

    /// Gets a token; `lasting` asks for one with which further ones can be got, too.
    pub(super) async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
        lasting: bool,
    ) -> Result<Token> {
        let mut url = self.token_server(realm)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let own_scope = match self.path.as_str() {
            "" => None,
            path => Some(format!("repository:{path}:pull")),
        };
        let scopes: Vec<&str> = match self.scopes.as_slice() {
            [] => scope.or(own_scope.as_deref()).into_iter().collect(),
            scopes => scopes.iter().map(String::as_str).collect(),
        };
        let request = if let Some(Credentials::Identity(_, token)) = &self.credentials {
            // The encoding of a form is that of a query.
            let mut form = url.clone();
            form.query_pairs_mut()
                .clear()
                .append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "barge")
                .append_pair("refresh_token", token)
                .append_pair("service", service.unwrap_or_default())
                .append_pair("scope", &scopes.join(" "));
            discreet_client(&self.registry, &self.endpoint, IDLE_TIMEOUT)?
                .post(url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.query().unwrap_or_default().to_owned())
        } else {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scopes {
                query.append_pair("scope", scope);
            }
            if let Some(Credentials::Password(user, password)) = &self.credentials {
                query.append_pair("account", user);
                if lasting {
                    query.append_pair("client_id", "barge").append_pair("offline_token", "true");
                }
                drop(query);
                self.client.get(url).basic_auth(user, Some(password))
            } else {
                drop(query);
                self.client.get(url)
            }
        };
        let response = request.send().await.map_err(|error| failure::unreachable(&host, &error))?;
        if !response.status().is_success() {
            return Err(failure::refused(&host, response, self.credentials.is_some()).await);
        }
        let data = self.body(response).await?;
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
            refresh_token: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(&data).unwrap_or_default();
        let given = |text: &String| !text.is_empty();
        let refresh = answer.refresh_token.filter(given);
        match answer.token.filter(given).or(answer.access_token.filter(given)) {
            Some(text) => Ok(Token { text, refresh }),
            None => {
                Err(Error::new(Kind::Unavailable, format!("token server `{host}` gave no token")))
            }
        }
    }
}
