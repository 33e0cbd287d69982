package source

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

// DefaultEvery is the interval of a check that names none.
const DefaultEvery = 60 * time.Second

// Check is a check as it is configured. The keys that are not its own are the settings of its kind.
type Check struct {
	At         conf.Pos
	Name       Text
	Kind       Text
	Every      Span
	Cron       Text
	Profile    Text
	Credential Text
	Settings   conf.Node `yaml:",inline"`
}

// commonKeys are the keys that checks of every kind have.
func commonKeys() []string { return []string{"name", "kind", "every", "cron", "profile", "credential"} }

// Resolve turns the checks of a class or a target into what is said on the bus.
func Resolve(checks []Check, j *Judge) ([]event.Check, conf.Problems) {
	var problems conf.Problems
	out := make([]event.Check, 0, len(checks))
	names := map[string]conf.Pos{}
	for i := range checks {
		c, more := checks[i].resolve(j)
		problems = append(problems, more...)
		if first, twice := names[c.Name]; twice && c.Name != "" {
			problems = append(problems, checks[i].At.Problem(
				fmt.Sprintf("a second check has the name %q, the first is on line %d", c.Name, first.Line), "give one of them a name: key of its own"))
		}
		names[c.Name] = checks[i].At
		out = append(out, c)
	}
	return out, problems
}

func (c *Check) resolve(j *Judge) (event.Check, conf.Problems) {
	var problems conf.Problems
	out := event.Check{
		Name: c.Name.Text, Kind: c.Kind.Text, Every: c.Every.Length, Cron: c.Cron.Text,
		Profile: c.Profile.Text, Credential: c.Credential.Text,
	}
	if out.Name == "" {
		out.Name = out.Kind
	}
	if c.Name.Given() {
		problems = append(problems, Name(c.Name.At, "check", out.Name)...)
	}
	problems = append(problems, c.when(&out, j)...)
	unknown := conf.Problems(nil)
	if c.Credential.Given() {
		unknown = known(c.Credential.At, "credential", out.Credential, j.Credentials)
		problems = append(problems, unknown...)
	}
	if out.Kind == "" {
		return out, append(problems, c.At.Problem("the check has no kind", meant("", j.Kinds, "kind")))
	}
	wrongKind := known(c.Kind.At, "kind of check", out.Kind, j.Kinds)
	if out.Kind == event.CanaryClass {
		wrongKind = conf.Problems{c.Kind.At.Problem("the canary's check cannot be given to other targets", "remove it")}
	}
	if wrongKind != nil {
		return out, append(problems, wrongKind...)
	}
	if c.Profile.Given() && j.Profile != nil {
		if err := j.Profile(out.Kind, out.Profile); err != nil {
			problems = append(problems, c.Profile.At.Problem(err.Error(), "correct the name of the profile"))
		}
	}
	if j.Credential != nil && unknown == nil {
		if err := j.Credential(out.Kind, out.Credential); err != nil {
			at := c.At
			if c.Credential.Given() {
				at = c.Credential.At
			}
			problems = append(problems, at.Problem(err.Error(), "see credentials: in the configuration"))
		}
	}
	var more conf.Problems
	out.Spec, more = c.spec(j)
	return out, append(problems, more...)
}

// when judges the interval and the cron expression.
func (c *Check) when(out *event.Check, j *Judge) (problems conf.Problems) {
	switch {
	case c.Every.At.Line > 0 && c.Cron.Given():
		problems = append(problems, c.Cron.At.Problem("every and cron are both given", "keep one of the two"))
	case c.Every.At.Line > 0 && out.Every < time.Second:
		problems = append(problems, c.Every.At.Problem(fmt.Sprintf("every is %s, less than a second", out.Every), "write 1s or more"))
	case c.Cron.Given():
		if j.Cron == nil {
			break
		}
		if err := j.Cron(out.Cron); err != nil {
			problems = append(problems, c.Cron.At.Problem(fmt.Sprintf("the cron expression %q does not parse: %s", out.Cron, err),
				`write "minute hour day month weekday", such as "30 2 * * 1-5", with CRON_TZ=Europe/Berlin before it where the zone matters`))
		}
	case c.Every.At.Line == 0:
		out.Every = DefaultEvery
	}
	return problems
}

// spec has the kind judge its own settings.
func (c *Check) spec(j *Judge) (json.RawMessage, conf.Problems) {
	if j.Spec == nil {
		if len(c.Settings.Keys()) == 0 {
			return nil, nil
		}
		var plain any
		problems := c.Settings.Into(&plain)
		data, err := json.Marshal(plain)
		if err != nil {
			problems = append(problems, c.Settings.Problem("the settings cannot be kept: "+err.Error(), "use plain values"))
		}
		return data, problems
	}
	data, problems := j.Spec(c.Kind.Text, c.Settings)
	// The kind does not know the keys that all checks have, so it cannot say that one of them was meant.
	for _, key := range c.Settings.Keys() {
		near := conf.Nearest(key.Text(), commonKeys())
		for i := range problems {
			if near != "" && !strings.HasPrefix(problems[i].Do, "did you mean") && problems[i] == key.Problem(problems[i].What, problems[i].Do) {
				problems[i].Do = fmt.Sprintf("did you mean %q?", near)
			}
		}
	}
	return data, problems
}
