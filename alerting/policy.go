package alerting

import (
	"regexp"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Policy says how long alerting waits for what, and how often it tries.
type Policy struct {
	// GroupWait is how long a page waits after its cause is known, so that it can count what the cause took along.
	GroupWait time.Duration `yaml:"group_wait"`
	// VerifyTimeout bounds the wait for a verifying poll; it should be longer than a poll's deadline.
	VerifyTimeout time.Duration `yaml:"verify_timeout"`
	// VerifyAtOnce bounds the verifying polls under way.
	VerifyAtOnce int `yaml:"verify_at_once"`
	// Settle is how long after its cause came back a child may still fire before it speaks for itself; for
	// targets that are polled rarely it is two of their intervals.
	Settle time.Duration `yaml:"settle"`
	// RerootWithin is how much later than a child a parent may be seen to fail and still be its cause.
	RerootWithin time.Duration `yaml:"reroot_within"`
	// Unreachable is a regular expression (RE2, the whole name) for the names of alerts that say of a target that it is
	// not there at all. It matters for targets that Kemi does not poll itself: they explain what is behind them.
	Unreachable string `yaml:"unreachable"`
	// From SimilarCount alerts within SimilarWithin on, those of one team on targets of one class that no failure above them
	// explains are one incident.
	SimilarWithin time.Duration `yaml:"similar_within"`
	SimilarCount  int           `yaml:"similar_count"`
	// A cause that fires FlapCount times within FlapWindow flaps: its incident stays open until it was calm for
	// FlapCalm.
	FlapWindow time.Duration `yaml:"flap_window"`
	FlapCount  int           `yaml:"flap_count"`
	FlapCalm   time.Duration `yaml:"flap_calm"`
	// ReopenWithin is how long after it was over by itself an incident is reopened by what fires again; 0 never.
	ReopenWithin time.Duration `yaml:"reopen_within"`
	// FallbackAfter is how long a person's way may not work before the next one is tried, too.
	FallbackAfter time.Duration `yaml:"fallback_after"`
	// AckFor is how long an acknowledgement holds that does not say until when.
	AckFor time.Duration `yaml:"ack_for"`
	// RetryFor is how long a page that cannot be delivered is tried again, SendTimeout how long one attempt may take.
	RetryFor    time.Duration `yaml:"retry_for"`
	SendTimeout time.Duration `yaml:"send_timeout"`
	// PersonLimit is how many pages a person gets within LimitWithin, by whatever way, and ReceiverLimit how many a receiver
	// gets that name no person. What is more goes into a summary; what is critical is told always. 0 is no limit.
	PersonLimit   int           `yaml:"person_limit"`
	ReceiverLimit int           `yaml:"receiver_limit"`
	LimitWithin   time.Duration `yaml:"limit_within"`
	// LinkKeyFile holds the key of the links to acknowledge, for several processes on one bus; one that has its bus to
	// itself makes a key in its data directory.
	LinkKeyFile string `yaml:"link_key_file"`
}

// DefaultPolicy is the policy of a configuration that says nothing.
func DefaultPolicy() Policy {
	return Policy{
		GroupWait: 5 * time.Second, VerifyTimeout: 15 * time.Second, VerifyAtOnce: 32, Settle: time.Minute,
		RerootWithin: 5 * time.Minute, FlapWindow: 10 * time.Minute, FlapCount: 3, FlapCalm: 5 * time.Minute,
		ReopenWithin:  10 * time.Minute,
		SimilarWithin: time.Minute, SimilarCount: 4, AckFor: 4 * time.Hour, FallbackAfter: 2 * time.Minute,
		Unreachable: `(?i)(target|instance|host|node|server|switch|router|device|machine|vm|hypervisor|site|ping|probe)[ _-]?(is)?[ _-]?(down|unreachable|offline|failed|not_?responding|no_?response)`,
		RetryFor:    24 * time.Hour, SendTimeout: 10 * time.Second, PersonLimit: 10, ReceiverLimit: 60, LimitWithin: 10 * time.Minute,
	}
}

// Validate implements conf.Validator.
func (p *Policy) Validate() []conf.Complaint {
	var all []conf.Complaint
	check := func(ok bool, field, what, do string) {
		if !ok {
			all = append(all, conf.Complaint{Field: field, What: what, Do: do})
		}
	}
	check(p.GroupWait >= 0 && p.GroupWait <= 10*time.Minute, "group_wait", "group_wait is out of range", "use 0s to 10m")
	check(p.VerifyTimeout >= time.Second && p.VerifyTimeout <= 10*time.Minute, "verify_timeout", "verify_timeout is out of range", "use 1s to 10m")
	check(p.VerifyAtOnce >= 1 && p.VerifyAtOnce <= 10000, "verify_at_once", "verify_at_once is out of range", "use 1 to 10000")
	check(p.Settle >= 0 && p.Settle <= time.Hour, "settle", "settle is out of range", "use 0s to 1h")
	check(p.RerootWithin >= 0, "reroot_within", "reroot_within is negative", "use 0s or more")
	check(p.SimilarWithin >= time.Second && p.SimilarWithin <= time.Hour, "similar_within", "similar_within is out of range", "use 1s to 1h")
	check(p.SimilarCount >= 2, "similar_count", "similar_count is below 2", "use 2 or more")
	_, err := regexp.Compile(p.Unreachable)
	check(err == nil && p.Unreachable != "", "unreachable", "unreachable is no regular expression", "write one for names of alerts, such as (Host|Switch)Down")
	check(p.FlapWindow >= 0, "flap_window", "flap_window is negative", "use 0s or more")
	check(p.FlapCount >= 2, "flap_count", "flap_count is below 2", "use 2 or more")
	check(p.FlapCalm >= 0, "flap_calm", "flap_calm is negative", "use 0s or more")
	check(p.ReopenWithin >= 0 && p.ReopenWithin <= 24*time.Hour, "reopen_within", "reopen_within is out of range", "use 0s to 24h")
	check(p.AckFor >= time.Minute, "ack_for", "ack_for is below a minute", "use 1m or more")
	check(p.FallbackAfter >= 0, "fallback_after", "fallback_after is negative", "use 0s or more")
	check(p.RetryFor >= time.Minute, "retry_for", "retry_for is below a minute", "use 1m or more")
	check(p.SendTimeout >= time.Second, "send_timeout", "send_timeout is below a second", "use 1s or more")
	check(p.PersonLimit >= 0, "person_limit", "person_limit is negative", "use 1 or more, or 0 for no limit")
	check(p.ReceiverLimit >= 0, "receiver_limit", "receiver_limit is negative", "use 1 or more, or 0 for no limit")
	check(p.LimitWithin >= time.Minute && p.LimitWithin <= 24*time.Hour, "limit_within", "limit_within is out of range", "use 1m to 24h")
	return all
}
