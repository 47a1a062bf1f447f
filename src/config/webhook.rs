use super::WebhookSettings;
use super::checked::secret;
use crate::outbox;

impl WebhookSettings {
    pub(super) fn check(self, wrong: &mut Vec<String>) -> Option<outbox::Settings> {
        let secret = secret("SCRIP_WEBHOOK_SECRET", self.webhook_secret, self.webhook_secret_file);
        let secret = secret.map_err(|why| wrong.push(why)).ok()?;
        match (self.webhook_url, secret) {
            (Some(url), Some(secret)) => outbox::Settings::new(url, &secret)
                .map_err(|unusable| wrong.push(unusable.to_string()))
                .ok(),
            (None, None) => None,
            _ => {
                wrong.push("SCRIP_WEBHOOK_URL and SCRIP_WEBHOOK_SECRET go together".into());
                None
            }
        }
    }
}
