package alertmanager

import (
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// A silence that takes another's place is there before that ends: in between nothing speaks.
func TestASilenceIsReplacedBeforeItEnds(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	was := &event.Silence{
		ID: "old", Kind: event.PlainSilence, Matchers: []event.Matcher{{Name: "alertname", Value: "A"}}, StartsAt: now.Add(-time.Hour), EndsAt: now.Add(time.Hour),
		By: "jo", Comment: "one", Updated: now.Add(-time.Hour),
	}
	s := *was
	s.Matchers = []event.Matcher{{Name: "alertname", Value: "A|B", Regex: true}}
	say, err := change(&s, was, "new", now)
	if err != nil || len(say) != 2 || say[0].Key() != "new" || say[1].Key() != "old" {
		t.Fatalf("said %v, %v", say, err)
	}
	if first, last := say[0].(*event.Silence), say[1].(*event.Silence); !first.EndsAt.After(now) || last.EndsAt.After(now) {
		t.Errorf("%+v, %+v", first, last)
	}
}
