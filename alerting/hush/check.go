package hush

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
)

// maxText is how much text a silence may hold, in bytes.
const maxText = 1 << 20

// State says whether a silence is in force, in Alertmanager's words.
type State string

// The states of a silence.
const (
	// Pending: it will come into force; of one that recurs, it will again.
	Pending State = "pending"
	// Active: it is in force.
	Active State = "active"
	// Expired: it will not come into force any more.
	Expired State = "expired"
)

// Check says what is wrong with a silence that somebody asks for at an instant; nil when it can be taken in. The message
// says what to do. It has no id yet, so that none is asked for.
func Check(s *event.Silence, now time.Time) error {
	if n := size(s); n > maxText {
		return fmt.Errorf("the silence holds %d bytes of text: use at most %d", n, maxText)
	}
	switch s.Kind {
	case event.PlainSilence, event.MaintenanceWindow:
	default:
		return fmt.Errorf("there is no kind of silence %s: use %s or %s", shortQuote(string(s.Kind)), event.PlainSilence, event.MaintenanceWindow)
	}
	if strings.TrimSpace(s.By) == "" {
		return errors.New("nobody is named as its author: say who wants it")
	}
	if strings.TrimSpace(s.Comment) == "" {
		return errors.New("there is no comment: say why, for whoever wonders at night")
	}
	if _, err := compileMatchers(s.Matchers); err != nil {
		return err
	}
	return checkTimes(s, now)
}

func checkTimes(s *event.Silence, now time.Time) error {
	switch {
	case s.StartsAt.IsZero():
		return errors.New("it has no start: give starts_at")
	case s.EndsAt.IsZero() && s.Recurs == "":
		return errors.New("it has no end: give ends_at, so that it is not forgotten")
	case !s.EndsAt.IsZero() && !s.EndsAt.After(s.StartsAt):
		return fmt.Errorf("it ends at %s, before it starts at %s: give a later ends_at", stamp(s.EndsAt), stamp(s.StartsAt))
	case !s.EndsAt.IsZero() && !s.EndsAt.After(now):
		return fmt.Errorf("it ended at %s, which is past: give an ends_at in the future", stamp(s.EndsAt))
	case s.LastsSeconds != 0 && s.Recurs == "":
		return errors.New("lasts_seconds is for what recurs: give a rule in recurs, or ends_at instead")
	}
	c, err := newSchedule(s)
	if err != nil {
		return err
	}
	if in := c.at(now); !in.on && in.to.IsZero() {
		return errors.New("it would never come into force: its rule names no time between now and its end")
	}
	return nil
}

// size is how much text a silence holds, in bytes.
func size(s *event.Silence) int {
	n := len(s.ID) + len(s.Kind) + len(s.Recurs) + len(s.Timezone) + len(s.By) + len(s.Comment)
	for _, m := range s.Matchers {
		n += len(m.Name) + len(m.Value)
	}
	for k, v := range s.Annotations {
		n += len(k) + len(v)
	}
	return n
}

// StateOf says whether a silence is in force at an instant, and until when that holds; zero is for ever. What cannot be
// understood is expired.
func StateOf(s *event.Silence, now time.Time) (State, time.Time) {
	c, err := newSchedule(s)
	if err != nil {
		return Expired, time.Time{}
	}
	switch in := c.at(now); {
	case in.on:
		return Active, in.to
	case in.to.IsZero():
		return Expired, time.Time{}
	default:
		return Pending, in.to
	}
}

// Expire returns a silence as it is to be said again so that it is over at an instant. One that has not started starts
// and ends then, as Alertmanager has it; one that is over already stays as it is.
func Expire(s *event.Silence, now time.Time) *event.Silence {
	out := *s
	if !s.EndsAt.IsZero() && !s.EndsAt.After(now) {
		return &out
	}
	if out.StartsAt.After(now) {
		out.StartsAt = now
	}
	out.EndsAt, out.Updated = now, now
	return &out
}
