package alertmanager_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/alertmanager"
	"kemi.dev/kemi/cmd/kemi/view"
)

// BenchmarkList100000 asks for 100 of 100,000 alerts that fire, and for all of them.
func BenchmarkList100000(b *testing.B) {
	h := serve(b, quiet+"inhibit_rules: [{source_matchers: ['severity=\"critical\"'], target_matchers: ['severity=\"warning\"'], equal: [rack]}]\n")
	now := time.Now().UTC()
	var all []event.Event
	last := ""
	for i := range 100_000 {
		labels := event.LabelsOf(ls{"alertname": "HostDown", "instance": fmt.Sprint("host-", i), "rack": fmt.Sprint(i / 100), "severity": "critical", "job": "node", "site": "west"})
		last = event.AlertID("g/HostDown", labels)
		all = append(all, &event.Alert{
			ID: last, Name: "HostDown", Rule: "g/HostDown", State: event.AlertFiring, Domain: "default", Labels: labels,
			Annotations: map[string]string{"summary": "it is down"}, StartsAt: now, Updated: now,
		})
		if len(all) == 1000 {
			if err := h.b.Publish(b.Context(), all...); err != nil {
				b.Fatal(err)
			}
			all = all[:0]
		}
	}
	h.model.Await(b.Context(), func(s *view.State) bool { return s.Problem(last) != nil })
	for name, query := range map[string]string{"filtered": params("filter", `rack="7"`, "active", "true"), "whole": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := httptest.NewRecorder()
				h.srv.Config.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, alertmanager.Prefix+"/alerts?"+query, nil))
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
