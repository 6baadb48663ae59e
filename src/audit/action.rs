//! The words of the trail: what was done, or asked for.

use crate::db::words;

words! {
    /// What was done, or asked for.
    #[derive(clap::ValueEnum)]
    pub enum Action {
        /// A user was made.
        UserCreated = "user.created",
        /// Facts about a user were changed.
        UserUpdated = "user.updated",
        /// A user was frozen.
        UserFrozen = "user.frozen",
        /// A user was deleted.
        UserDeleted = "user.deleted",
        /// A user was made active again.
        UserRestored = "user.restored",
        /// A user was given a role, in place of the one they had; `member`, if that was taken away.
        RoleGiven = "user.role_given",
        /// A user was erased: nothing of them is left but their id.
        UserErased = "user.erased",
        /// Health data of a user was answered to someone, and nothing was changed.
        HealthRead = "user.health_read",
        /// The plan of a subscription was changed, or its start.
        SubscriptionUpdated = "subscription.updated",
        /// A subscription was paused.
        SubscriptionPaused = "subscription.paused",
        /// A subscription was resumed, or begun anew.
        SubscriptionResumed = "subscription.resumed",
        /// A subscription was cancelled: that it ends, and when, was said.
        SubscriptionCancelled = "subscription.cancelled",
        /// A subscription that was cancelled has ended.
        SubscriptionEnded = "subscription.ended",
        /// A link was followed, which signed the person in.
        LinkFollowed = "link.followed",
        /// Another link was sent.
        LinkSent = "link.sent",
        /// A tenant was made.
        TenantCreated = "tenant.created",
        /// Facts about a tenant were changed.
        TenantUpdated = "tenant.updated",
        /// A role was made.
        RoleCreated = "role.created",
        /// A role was removed.
        RoleRemoved = "role.removed",
        /// A key was made.
        KeyCreated = "key.created",
        /// A key was changed.
        KeyUpdated = "key.updated",
        /// A key was revoked.
        KeyRevoked = "key.revoked",
        /// An app was made.
        AppCreated = "app.created",
        /// An app was changed.
        AppUpdated = "app.updated",
        /// What an app says in a mail was changed.
        MailWorded = "mail.worded",
        /// A webhook was made.
        WebhookCreated = "webhook.created",
        /// A webhook was changed, enabled or disabled.
        WebhookUpdated = "webhook.updated",
        /// A webhook was disabled, for its endpoint said that it is gone.
        WebhookGone = "webhook.gone",
        /// A webhook was removed.
        WebhookRemoved = "webhook.removed",
        /// A webhook was given new keys.
        WebhookRotated = "webhook.rotated",
        /// A webhook was sent a test.
        WebhookTested = "webhook.tested",
        /// A webhook was sent again what it was sent before.
        WebhookReplayed = "webhook.replayed",
        /// An environment was connected to a billing account.
        BillingConnected = "billing.connected",
        /// An environment was disconnected from a billing account.
        BillingDisconnected = "billing.disconnected",
        /// Users of before were queued to become customers.
        BillingExistingQueued = "billing.existing_queued",
        /// What billing had given up was queued again: a job, or all of an environment.
        BillingRetried = "billing.retried",
        /// What billing had given up was counted as done: the operator has seen to it there.
        BillingDismissed = "billing.dismissed",
        /// A customer was forgotten, for the billing provider said that it was deleted there, or the operator that another
        /// account takes the place of theirs.
        CustomerForgotten = "billing.customer_forgotten",
        /// A request came again and was given its first answer.
        RequestReplayed = "request.replayed",
        /// A request or a command was refused.
        RequestRefused = "request.refused",
        /// A person signed in by a mail that they asked for.
        SignedIn = "user.signed_in",
        /// A session was ended.
        SessionEnded = "session.ended",
        /// All sessions of a user were ended; those of everybody, if it names no user.
        SessionsEnded = "sessions.ended",
        /// An app was given a code by a browser's session, and nobody was asked.
        CodeIssued = "code.issued",
        /// An app was given tokens of a user for a code; or the operator an access token, to try things out.
        TokenIssued = "token.issued",
        /// An app was given new tokens of a user for a refresh token.
        TokenRefreshed = "token.refreshed",
        /// A signing key was made, to take another's place.
        SigningKeyRotated = "signing_key.rotated",
        /// A signing key was revoked.
        SigningKeyRevoked = "signing_key.revoked",
        /// An administrator was made.
        AdminCreated = "admin.created",
        /// An administrator was given another role.
        AdminRoleChanged = "admin.role_changed",
        /// An administrator was made one no longer.
        AdminRemoved = "admin.removed",
        /// An administrator was given a link by the operator, or sent one by another administrator.
        AdminLinkMade = "admin.link_made",
        /// An administrator signed in.
        AdminSignedIn = "admin.signed_in",
        /// An administrator signed out.
        AdminSignedOut = "admin.signed_out",
        /// A file of people was sent, and waits for somebody to say how it goes on.
        ImportFileSent = "import.file_sent",
        /// A file that waited was removed.
        ImportFileDiscarded = "import.file_discarded",
        /// A test mail was sent.
        MailTested = "mail.tested",
        /// A file of people was begun to be taken over; the import's id is the request's id of all that it did.
        ImportBegun = "import.begun",
        /// An import was begun to be undone.
        ImportUndone = "import.undone",
        /// An import was broken off, and why.
        ImportBrokenOff = "import.broken_off",
        /// Users were written to a file.
        UsersExported = "users.exported",
        /// Entries of the audit trail were exported by the dashboard.
        AuditExported = "audit.exported",
        /// The audit trail was verified, and so much was found; no number, if nobody waited for the end.
        AuditVerified = "audit.verified",
    }
}

impl Action {
    /// Whether what changed is for owners alone: it is about a key or an account, or says why health data was looked at.
    pub fn is_for_owners(&self) -> bool {
        use Action::{
            BillingConnected, BillingDisconnected, BillingDismissed, BillingExistingQueued, BillingRetried, HealthRead,
            KeyCreated, KeyRevoked, KeyUpdated, SigningKeyRevoked, SigningKeyRotated,
        };
        let is_of_a_key = matches!(self, KeyCreated | KeyUpdated | KeyRevoked | SigningKeyRotated | SigningKeyRevoked);
        let is_of_an_account = matches!(
            self,
            BillingConnected | BillingDisconnected | BillingDismissed | BillingExistingQueued | BillingRetried
        );
        is_of_a_key || is_of_an_account || matches!(self, HealthRead)
    }
}
