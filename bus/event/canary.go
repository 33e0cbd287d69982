package event

// The canary is a built-in target whose check passes every stage each interval, so that a stage that stands still is
// seen by what does not arrive. Each interval the cmdb's CanaryTarget becomes a job, a reading, a sample, a finding of
// RuleCanary and an alert of that rule (always resolved, so it pages nobody), whose arrival in alerting ends the trip.
const (
	CanaryTarget = "kemi-canary"
	// CanaryClass is also the kind of its check; listings leave the class out.
	CanaryClass = "kemi-canary"
	RuleCanary  = "kemi:canary"
)
