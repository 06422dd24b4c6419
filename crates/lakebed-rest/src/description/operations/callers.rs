//! Setup and signing in.

use lakebed_api::{
    AuthCapabilities, AuthenticationToken, CredentialsWithSecret, CurrentUser, ExternalPrincipal, SetupState,
};

use crate::description::operation::{Described, empty, json, op};
use crate::description::parameters::{Kind, Parameter};

/// An identity elsewhere.
pub(super) const PRINCIPAL: Parameter =
    Parameter::query("principalId", Kind::Text, "What the user is called by the other side.").required();

/// What the code flow of tokens would need.
const LOGIN_TOKEN: Parameter =
    Parameter::path("loginRequestToken", Kind::AtMost(1024), "Names the sign-in that waits for a token.");

pub(super) const OPERATIONS: &[Described] = &[
    op("getSetupState", &["internal"], "Is the server set up?")
        .says("And if it is, how one signs in.")
        .answers(&[json::<SetupState>(200, "The state.")]),
    op("setup", &["internal"], "Make the first administrator")
        .says(
            "Works once. The key pair is that of the request, or a fresh one; the secret is shown here only.",
        )
        .answers(&[json::<CredentialsWithSecret>(200, "The administrator's keys.")])
        .refuses(&[409]),
    op("setupCommPrefs", &["internal"], "Communication preferences")
        .says("This server asks for none and sends none: once it is set up, they count as given.")
        .answers(&[empty(200, "Taken.")])
        .refuses(&[409, 412]),
    op("login", &["auth"], "Sign in with a key pair")
        .says("The token goes behind `Authorization: Bearer`; browsers get it as a cookie as well.")
        .answers(&[json::<AuthenticationToken>(200, "The token.").with(&[("Set-Cookie", "The session.")])])
        .refuses(&[401]),
    op("getCurrentUser", &["auth"], "Who am I?")
        .says("Nobody is an answer, too: a caller without credentials is a user with an empty id.")
        .answers(&[json::<CurrentUser>(200, "The caller.")]),
    op("getAuthCapabilities", &["internal"], "What user administration can do").answers(&[json::<
        AuthCapabilities,
    >(
        200,
        "Its capabilities.",
    )]),
    op(
        "externalPrincipalLogin",
        &["external", "experimental", "auth"],
        "Sign in with an identity of elsewhere",
    )
    .not_yet()
    .answers(&[json::<AuthenticationToken>(200, "The token.")])
    .refuses(&[401, 403, 404]),
    op("stsLogin", &["experimental"], "Sign in with an identity provider's code")
        .not_yet()
        .answers(&[json::<AuthenticationToken>(200, "The token.")])
        .refuses(&[401]),
    op("getExternalPrincipal", &["auth", "external", "experimental"], "Whose identity is this?")
        .not_yet()
        .takes(&[PRINCIPAL])
        .answers(&[json::<ExternalPrincipal>(200, "The identity and its user.")])
        .refuses(&[401, 404]),
    op("oauthCallback", &["auth"], "Where identity providers send browsers back to")
        .says("Nobody signs in through a provider here, so it is an empty page.")
        .answers(&[empty(200, "Nothing to do."), empty(302, "Signed in."), empty(401, "Not signed in.")]),
    op("getTokenRedirect", &["auth", "experimental"], "Begin a sign-in elsewhere")
        .not_served()
        .answers(&[empty(303, "Where to sign in.").with(&[
            ("Location", "The page to sign in on."),
            ("X-LakeFS-Mailbox", "Where the token will be."),
        ])])
        .refuses(&[401, 429, 501]),
    op("getTokenFromMailbox", &["auth", "experimental"], "Fetch the token of a sign-in elsewhere")
        .not_served()
        .answers(&[json::<AuthenticationToken>(200, "The token.")])
        .refuses(&[400, 401, 429, 501]),
    op("releaseTokenToMailbox", &["auth", "experimental"], "Let a sign-in elsewhere have its token")
        .not_served()
        .takes(&[LOGIN_TOKEN])
        .answers(&[empty(204, "Done.")])
        .refuses(&[401, 429, 501]),
];
