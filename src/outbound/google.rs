//! Google's OAuth: a service account's key signs a request for an access token, which is kept until shortly before it
//! ends. <https://developers.google.com/identity/protocols/oauth2/service-account> (read 2026-11).

use crate::base::{Secret, Timestamp};
use crate::fault::{Fault, FaultKind};
use reqwest::Url;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;

/// The scope of every Vertex AI call.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Tokens live an hour; they are replaced so long before their end.
const MARGIN: Duration = Duration::from_mins(5);

/// Access tokens by service account, fetched once however many calls wait for one.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

#[derive(Debug, Clone)]
struct Token {
    secret: Secret,
    until: Timestamp,
}

/// The parts of a service account's JSON file that matter here.
#[derive(Deserialize)]
struct Account {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    #[serde(default = "usual_endpoint")]
    token_uri: String,
}

fn usual_endpoint() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// What is to be sent for a token.
pub(super) struct Exchange {
    /// Where.
    pub(super) url: Url,
    /// The form's only two fields.
    pub(super) form: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl Tokens {
    /// The access token for a credential: a service account's JSON is exchanged through `send`, which returns the body of
    /// a 2xx answer; anything else is an access token already.
    pub(super) async fn token<F>(&self, key: &Secret, send: impl FnOnce(Exchange) -> F) -> Result<Secret, Fault>
    where
        F: Future<Output = Result<bytes::Bytes, Fault>>,
    {
        if !key.expose().trim_start().starts_with('{') {
            return Ok(key.clone());
        }
        let account: Account = serde_json::from_str(key.expose())
            .map_err(|_| refused("the service account's file lacks client_email or private_key"))?;
        // Held while the exchange runs: others wait for this token instead of fetching their own.
        let mut tokens = self.0.lock().await;
        let now = Timestamp::now();
        if let Some(token) = tokens.get(&account.client_email).filter(|token| token.until > now) {
            return Ok(token.secret.clone());
        }
        let body = send(account.exchange(now)?).await?;
        let granted: Granted =
            serde_json::from_slice(&body).map_err(|_| refused("Google's token answer is not what it should be"))?;
        let until = now.plus(Duration::from_secs(granted.expires_in).saturating_sub(MARGIN));
        let secret = Secret::new(granted.access_token);
        tokens.insert(account.client_email, Token { secret: secret.clone(), until });
        Ok(secret)
    }
}

impl Account {
    fn exchange(&self, now: Timestamp) -> Result<Exchange, Fault> {
        let url = Url::parse(&self.token_uri).map_err(|_| refused("the service account's token_uri is no address"))?;
        let claims = json!({
            "iss": self.client_email, "scope": SCOPE, "aud": self.token_uri,
            "iat": now.seconds(), "exp": now.seconds() + 3600,
        });
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let encode = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = self.sign(signed.as_bytes())?;
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        Ok(Exchange { url, form: format!("{grant}&assertion={signed}.{}", encode(&signature)) })
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Fault> {
        let unusable = |()| refused("the service account's private_key cannot be read");
        let base64: String = self.private_key.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = base64_simd::STANDARD.decode_to_vec(base64.trim()).map_err(|_| unusable(()))?;
        let key = RsaKeyPair::from_pkcs8(&der).map_err(|_| unusable(()))?;
        let mut signature = vec![0; key.public().modulus_len()];
        let signing = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature);
        signing.map_err(|_| unusable(()))?;
        Ok(signature)
    }
}

fn refused(text: &str) -> Fault {
    Fault::new(FaultKind::Auth, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A throw-away key made for this test.
    const PEM: &str = include_str!("../../tests/keys/service-account.pem");

    fn account() -> Secret {
        let file = json!({"type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key": PEM,
            "private_key_id": "k1", "token_uri": "https://oauth2.googleapis.com/token"});
        Secret::new(file.to_string())
    }

    #[tokio::test]
    async fn signs_once_and_keeps_the_token() {
        let tokens = Tokens::default();
        let asked = AtomicU32::new(0);
        for _ in 0..3 {
            let token = tokens
                .token(&account(), |exchange| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    let assertion = exchange.form.split("assertion=").nth(1).unwrap().to_owned();
                    let (signed, signature) = assertion.rsplit_once('.').unwrap();
                    let der: String = PEM.lines().filter(|line| !line.starts_with('-')).collect();
                    let key = RsaKeyPair::from_pkcs8(&base64_simd::STANDARD.decode_to_vec(der).unwrap()).unwrap();
                    let signature = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(signature).unwrap();
                    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
                    public.verify(signed.as_bytes(), &signature).unwrap();
                    let claims = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(signed.split('.').nth(1).unwrap()).unwrap();
                    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
                    assert_eq!((&claims["scope"], &claims["aud"]), (&json!(SCOPE), &json!(exchange.url.as_str())));
                    async { Ok(bytes::Bytes::from_static(b"{\"access_token\": \"ya29.x\", \"expires_in\": 3599}")) }
                })
                .await
                .unwrap();
            assert_eq!(token.expose(), "ya29.x");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_plain_token_is_used_as_it_is_and_a_bad_file_is_told() {
        let tokens = Tokens::default();
        let never = |_: Exchange| async { Err(refused("never asked")) };
        assert_eq!(tokens.token(&Secret::new("ya29.y"), never).await.unwrap().expose(), "ya29.y");
        for bad in ["{}", "{\"client_email\": \"a\", \"private_key\": \"nonsense\"}"] {
            assert_eq!(tokens.token(&Secret::new(bad), never).await.unwrap_err().kind, FaultKind::Auth);
        }
    }
}
