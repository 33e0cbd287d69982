package alertmanager

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// several is a page about several incidents: it has no snapshot of one.
func several(kind event.PageKind, reason string) *event.Page {
	return &event.Page{
		ID: "page-" + string(kind) + reason, Incident: "sum-1", Summary: "sum-1", Domain: "dc1", Team: "network", Receiver: "pager", Urgency: event.UrgencyPage, Kind: kind,
		Stage: event.PageIntent, DedupKey: "5u3", Title: "12 more incidents: 9 still there, 3 over by now (network 12)", Created: time.Date(2026, 3, 1, 3, 21, 0, 0, time.UTC),
		Text: "Held since 03:20:00 UTC.\nStill there:\n- sw-7 is down (warning)", Reason: event.Reason{Code: reason},
	}
}

// Every provider takes a summary, opens something by it and closes it when all of it is over; of what is over already
// none opens anything.
func TestASummaryIsOpenedAndClosedEverywhere(t *testing.T) {
	for n, p := range provided() {
		t.Run(fmt.Sprintf("%s-%d", p.kind, n), func(t *testing.T) {
			t.Parallel()
			s := p.start(t, false)
			r := p.receiver(t, s, env(nil), "")
			for _, page := range []*event.Page{several(event.PageSummary, "rate-limited"), several(event.PageResolved, event.ReasonOver), several(event.PageSummary, event.ReasonOver)} {
				if _, err := r.Notify(context.Background(), page); err != nil {
					t.Fatalf("%s: %v", page.Kind, err)
				}
			}
			told := s.told()
			if !strings.Contains(told[0].text, "12 more incidents") || !strings.Contains(told[0].text, "SUMMARY") {
				t.Errorf("the summary says:\n%s", told[0].text)
			}
			if strings.Contains(told[0].text, "/incidents/sum-1") {
				t.Errorf("it leads to an incident that there is not:\n%s", told[0].text)
			}
			if !r.Dedups() {
				return
			}
			for i, c := range told {
				if want := map[bool]string{true: "open", false: "close"}[i == 0]; c.does != want || c.key != told[0].key {
					t.Errorf("the %d. is to %s under %q, want %s under %q", i+1, c.does, c.key, want, told[0].key)
				}
			}
		})
	}
}
