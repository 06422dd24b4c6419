//! Setup, login, the current user (`auth.md` §2, §4).

use http::{StatusCode, header};
use lakebed_api::{
    AuthCapabilities, AuthenticationToken, CommPrefsInput, CredentialsWithSecret, CurrentUser, LoginConfig,
    LoginInformation, Setup, User,
};
use lakebed_auth::SetupState;

use crate::authenticate::{LOGIN_COOKIE, SecureConnection, login_cookie};
use crate::call::Call;
use crate::error::RestError;
use crate::reply::{self, Reply};

pub(crate) async fn setup_state(call: Call, (): ()) -> Reply {
    let state = match call.rest.auth().setup_state().await? {
        SetupState::Initialized => "initialized",
        SetupState::NotInitialized => "not_initialized",
    };
    reply::ok(&lakebed_api::SetupState {
        comm_prefs_missing: false,
        login_config: LoginConfig {
            rbac: "none".to_owned(),
            login_cookie_names: vec![LOGIN_COOKIE.to_owned()],
            login_failed_message: "The credentials don't match.".to_owned(),
            login_url: String::new(),
            login_url_method: "none".to_owned(),
            logout_url: String::new(),
            ..LoginConfig::default()
        },
        state: state.to_owned(),
    })
}

pub(crate) fn setup_input(_: &Call, setup: Setup) -> Result<Setup, RestError> {
    if setup.key.as_ref().is_some_and(|key| key.access_key_id.is_empty() || key.secret_access_key.is_empty())
    {
        return Err(RestError::bad_request(
            "request body has an error: access_key_id and secret_access_key must not be empty",
        ));
    }
    Ok(setup)
}

pub(crate) async fn setup(call: Call, setup: Setup) -> Reply {
    if setup.username.is_empty() {
        return Err(RestError::bad_request("username must not be empty"));
    }
    if setup.email.as_deref().is_some_and(|email| !email.is_empty() && !is_email(email)) {
        return Err(RestError::bad_request("invalid email address"));
    }
    let key = setup.key.map(|key| (key.access_key_id, key.secret_access_key));
    let credentials = call.rest.auth().setup(&setup.username, key).await?;
    reply::ok(&CredentialsWithSecret {
        access_key_id: credentials.access_key_id,
        creation_date: credentials.created.secs(),
        secret_access_key: credentials.secret_access_key,
    })
}

/// One `@` with something around it, a dot behind it, no blanks: whether it exists only a letter would tell.
fn is_email(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty()
                && !host.contains('@')
                && host.split_once('.').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty())
        })
}

/// This server asks nobody for communication preferences and sends none, so they count as given once it is set up.
pub(crate) async fn communication_preferences(call: Call, _: CommPrefsInput) -> Reply {
    Err(match call.rest.auth().setup_state().await? {
        SetupState::NotInitialized => RestError::new(
            StatusCode::PRECONDITION_FAILED,
            "the server is not initialized: POST /setup_lakefs first",
        ),
        SetupState::Initialized => {
            RestError::new(StatusCode::CONFLICT, "communication preferences already set")
        }
    })
}

pub(crate) fn login_input(
    _: &Call,
    login: Option<LoginInformation>,
) -> Result<Option<LoginInformation>, RestError> {
    Ok(login)
}

pub(crate) async fn login(call: Call, login: Option<LoginInformation>) -> Reply {
    let login = login.ok_or_else(RestError::unauthenticated)?;
    let (token, expires) = call.rest.auth().login(&login.access_key_id, &login.secret_access_key).await?;
    let secure = call.parts.extensions.get::<SecureConnection>().is_some();
    let cookie = login_cookie(&token, call.catalog().clock().now().secs(), secure);
    let mut response = reply::ok(&AuthenticationToken { token, token_expiration: expires.secs() })?;
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Clients ask this to find out whether they are signed in: nobody is an answer, too.
pub(crate) async fn current_user(call: Call, (): ()) -> Reply {
    let user = call.principal.as_deref().map_or_else(User::default, |principal| User {
        creation_date: principal.created.secs(),
        email: Some(principal.email.clone().unwrap_or_default()),
        friendly_name: Some(principal.friendly_name.clone().unwrap_or_default()),
        id: principal.user_id.clone(),
    });
    reply::ok(&CurrentUser { user })
}

pub(crate) async fn capabilities(_: Call, (): ()) -> Reply {
    reply::ok(&AuthCapabilities::default())
}

#[cfg(test)]
mod tests {
    use super::is_email;

    #[test]
    fn e_mail_addresses() {
        for good in ["a@example.com", "a.b+c@x.y.z"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "not an address", "a@b", "@x.y", "a@b@c.d", "a@.d", "a b@c.d"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
