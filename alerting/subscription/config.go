// Package subscription delivers events to the webhooks of teams.
//
// In: targets, findings, alerts, incidents and pages, from the bus, each subscription as a group of its own; and what one of
// them alone is handed again. Out: one HTTP POST an event, the CloudEvent byte for byte as it is on the bus, signed by
// Standard Webhooks.
// It promises that an event is delivered at least once, with the same webhook-id each time; that events of one key come in
// their order; that an endpoint that is slow, down or wrong costs nobody else anything; and that what cannot be delivered is
// on dead.v1 with the reason.
// It never follows a redirect, never shows the URL or the secret, and never changes what an event says.
package subscription

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify/post"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// Config is what stands under a name in `subscriptions:`.
type Config struct {
	Pos conf.Pos
	// Config says where to; its url may hold a secret and is treated as one.
	post.Config `yaml:",inline"`
	// Topics are names of Names.
	Topics []string `yaml:"topics"`
	// Team, when there is one, leaves out the events of others.
	Team string `yaml:"team"`
	// Secret signs: one or more whsec_…, with white space between them. While there are several every event is signed with
	// each, so that they can be changed without a gap.
	Secret conf.Secret `yaml:"secret"`
	// GiveUpAfter is how old an event may become while its endpoint does not take it; then it goes to dead.v1.
	GiveUpAfter time.Duration `yaml:"give_up_after"`
}

// SetDefaults implements conf.Defaulter: ten seconds for an attempt, a day for an event.
func (c *Config) SetDefaults() { *c = Config{Config: post.Default(), GiveUpAfter: 24 * time.Hour} }

// Longest is how long an endpoint may be waited for: less than again.v1 keeps what it has.
const Longest = 7 * 24 * time.Hour

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	all := c.Config.Validate()
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if len(c.Topics) == 0 {
		complain("topics", "it subscribes to nothing", "write topics: [incidents]; there are "+strings.Join(Names(), ", "))
	}
	for i, name := range c.Topics {
		at := "topics." + strconv.Itoa(i)
		if !slices.Contains(Names(), name) {
			do := "there are " + strings.Join(Names(), ", ")
			if near := conf.Nearest(name, Names()); near != "" {
				do = fmt.Sprintf("did you mean %q? %s", near, do)
			}
			complain(at, fmt.Sprintf("%q is no topic to subscribe to", name), do)
		} else if slices.Index(c.Topics, name) < i {
			complain(at, name+" is there twice", "keep one")
		}
	}
	if c.Secret.IsZero() {
		complain("secret", "there is no secret to sign with", "write secret_file: FILE; `echo whsec_$(openssl rand -base64 32)` makes one")
	} else if _, err := parseKeys(c.Secret.Reveal()); err != nil {
		complain("secret", err.Error(), "write whsec_ and 24 to 64 random bytes in base64; `echo whsec_$(openssl rand -base64 32)` makes one")
	}
	if c.GiveUpAfter < time.Minute || c.GiveUpAfter > Longest {
		complain("give_up_after", "give_up_after is out of range", "use 1m to 7d")
	}
	return all
}

// maxName bounds a subscription's name, in bytes: it is a part of the names of groups.
const maxName = 48

// CheckName says what is wrong with a subscription's name, "" when nothing is.
func CheckName(name string) string {
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, bad) {
		return fmt.Sprintf("%q is no name for a subscription: use up to %d letters, digits, - and _", name, maxName)
	}
	return ""
}

// Group is the name under which a subscription reads its topics.
func Group(name string) string { return bus.AloneGroup + name }

// subject is a topic that can be subscribed to, and how it is delivered.
type subject struct {
	topic event.Topic
	own   func(ctx context.Context, b *bus.Bus, e *endpoint) error
}

func subjects() []subject {
	return []subject{
		{(*event.Incident)(nil).Topic(), own[event.Incident]},
		{(*event.Alert)(nil).Topic(), own[event.Alert]},
		{(*event.Page)(nil).Topic(), own[event.Page]},
		{(*event.Finding)(nil).Topic(), own[event.Finding]},
		{(*event.Target)(nil).Topic(), own[event.Target]},
	}
}

// subjectOf finds one by its topic's name, with or without the version.
func subjectOf(topic string) (s subject, known bool) {
	for _, s := range subjects() {
		if s.topic.Name == topic || short(s.topic.Name) == topic {
			return s, true
		}
	}
	return s, false
}

// Names are the topics that can be subscribed to, as they are written in the configuration: without their version.
func Names() []string {
	var all []string
	for _, s := range subjects() {
		all = append(all, short(s.topic.Name))
	}
	return all
}

// Takes reports whether events of the topic of that name can be delivered.
func Takes(topic string) bool {
	_, known := subjectOf(topic)
	return known
}

// short is a topic's name without its version.
func short(topic string) string {
	name, _, _ := strings.Cut(topic, ".")
	return name
}
