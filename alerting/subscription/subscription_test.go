package subscription

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
)

func TestOnlyWhatComesAfterASubscriptionBeganIsDeliveredAndNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.say(series("before", 3)...)
		p := w.start()
		w.say(series("a", 3)...)
		time.Sleep(5 * time.Second)
		p.stop()
		w.say(series("b", 3)...)
		time.Sleep(time.Hour)
		w.start() // It goes on where it was.
		w.say(series("c", 3)...)
		time.Sleep(5 * time.Second)
		got := w.hooks["audit"].has()
		if all := sequence(t, got); len(got) != 9 || len(of(all, "before")) > 0 || !slices.Equal(of(all, "b"), titles("b", 3)) {
			t.Errorf("told %v", all)
		}
	})
}

func TestAnEndpointThatIsDownForLongIsToldEverythingInItsOrderWhenItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents"), "other": subscribing(t, "incidents")})
		hook := w.hooks["audit"]
		hook.set(always(0))
		w.start()
		begun := time.Now()
		for range 15 { // Some before it is noticed, some while it is.
			for _, id := range []string{"a", "b", "c"} {
				w.say(incident(id, 1+int(time.Since(begun)/time.Hour), "network"))
			}
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		if got := len(hook.times); got < 15*12 || got > 15*20 {
			t.Errorf("asked %d times in 15 hours, want once in 5 minutes", got)
		}
		if other := sequence(t, w.hooks["other"].has()); !slices.Equal(of(other, "a"), titles("a", 15)) {
			t.Errorf("the other endpoint was told %v", other)
		}
		hook.set(nil)
		time.Sleep(10 * time.Minute)
		told := sequence(t, hook.has())
		for _, id := range []string{"a", "b", "c"} {
			if got := of(told, id); !slices.Equal(got, titles(id, 15)) {
				t.Errorf("told of %s: %v", id, got)
			}
		}
		if all := w.letters(""); len(all) != 0 {
			t.Errorf("dead letters: %v", all)
		}
	})
}

func TestWhatAnEndpointDoesNotTakeForADayIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].set(always(503))
		w.start()
		w.say(series("a", 2)...)
		time.Sleep(23 * time.Hour)
		if all := w.letters(""); len(all) != 0 {
			t.Fatalf("given up early: %v", all)
		}
		w.say(incident("late", 1, "network"))
		time.Sleep(2 * time.Hour)
		all := w.letters(Group("audit"))
		if len(all) != 2 || !strings.Contains(all[0].Reason, "given up after") || !strings.Contains(all[0].Reason, "503") {
			t.Fatalf("letters %+v", all)
		}
		w.hooks["audit"].set(nil)
		time.Sleep(10 * time.Minute)
		if got := sequence(t, w.hooks["audit"].has()); !slices.Equal(got, []string{"late 1"}) {
			t.Errorf("told %v", got)
		}
	})
}

func TestAnEventThatIsRefusedIsADeadLetterAndGoesBackToItsSubscriptionAlone(t *testing.T) {
	for name, status := range map[string]int{"400": 400, "404": 404, "410 Gone": 410, "a redirect": 301, "500 each time": 500, "501 each time": 501} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents"), "other": subscribing(t, "incidents")})
				poison := incident("a", 2, "network").Identity()
				w.hooks["audit"].set(func(p parcel, _ int) int {
					if p.id == poison {
						return status
					}
					return 200
				})
				w.start()
				w.say(append(append(series("a", 3), series("b", 3)...), series("c", 3)...)...)
				time.Sleep(time.Hour)
				told := sequence(t, w.hooks["audit"].has())
				if !slices.Equal(of(told, "a"), []string{"a 1", "a 3"}) || !slices.Equal(of(told, "b"), titles("b", 3)) || len(told) != 8 {
					t.Errorf("told %v", told)
				}
				all := w.letters("")
				if len(all) != 1 || all[0].Group != "subscription-audit" || all[0].Key != "a" || !strings.Contains(all[0].Reason, fmt.Sprint("the receiver answered ", status)) {
					t.Fatalf("letters %+v", all)
				}
				w.hooks["audit"].set(nil)
				settled, err := w.b.Retry(t.Context(), []int64{all[0].ID}, "jo", "mended")
				if err != nil || len(settled) != 1 || settled[0].Why != "" {
					t.Fatal(settled, err)
				}
				time.Sleep(time.Minute)
				got := w.hooks["audit"].has()
				if last := got[len(got)-1]; last.id != poison || last.again != "retry" || len(got) != 9 {
					t.Errorf("then %+v", last)
				}
				if other := w.hooks["other"].has(); len(other) != 9 || slices.ContainsFunc(other, func(p parcel) bool { return p.again != "" }) {
					t.Errorf("the other one was told %v", other)
				}
				if all := w.letters(""); len(all) != 0 {
					t.Errorf("letters that are left: %+v", all)
				}
			})
		})
	}
}

func TestAnEventThatAlwaysBreaksTheEndpointHoldsUpNoOtherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].set(func(p parcel, _ int) int {
			if strings.Contains(p.body, `"title":"a 1"`) {
				return 500
			}
			return 200
		})
		w.start()
		var all []event.Event
		for i := range 40 {
			if i < 15 {
				all = append(all, incident("a", i+1, "network"))
			}
			all = append(all, incident(fmt.Sprint("other-", i), 1, "network"))
		}
		w.say(all...)
		time.Sleep(30 * time.Second)
		told := sequence(t, w.hooks["audit"].has())
		if len(told) < 25 || len(of(told, "a")) > 0 { // Those of the batch; what comes after waits for it.
			t.Errorf("told %v", told)
		}
		time.Sleep(time.Hour)
		told = sequence(t, w.hooks["audit"].has())
		if !slices.Equal(of(told, "a"), titles("a", 15)[1:]) || len(told) != 54 {
			t.Errorf("then %v", told)
		}
		if n := w.hooks["audit"].attempts[incident("a", 1, "").Identity()]; n != patience {
			t.Errorf("tried %d times", n)
		}
	})
}

func TestAnEndpointThatRefusesEverythingDoesNotMakeADeadLetterOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].set(always(401))
		w.start()
		for i := range 200 {
			w.say(incident(fmt.Sprint("a ", i), 1, "network"))
		}
		time.Sleep(time.Hour)
		if n := len(w.letters("")); n < 20 || n > 90 {
			t.Errorf("%d dead letters in an hour", n)
		}
		w.hooks["audit"].set(nil)
		time.Sleep(10 * time.Minute)
		dead, told := w.letters(""), sequence(t, w.hooks["audit"].has())
		if len(dead)+len(told) != 200 || len(told) < 110 {
			t.Errorf("%d dead, %d told", len(dead), len(told))
		}
	})
}

func TestAnEndpointIsLeftAloneForAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents alerts")})
		hook := w.hooks["audit"]
		hook.after = 2 * time.Hour
		hook.set(always(429))
		w.start()
		w.say(incident("a", 1, "network"))
		time.Sleep(time.Minute)
		w.say(incident("b", 1, "network"), &event.Alert{ID: "x", Name: "Down", Domain: "default", State: event.AlertFiring, Updated: time.Now()})
		time.Sleep(time.Hour)
		if len(hook.times) != 1 {
			t.Fatalf("asked %d times within an hour", len(hook.times))
		}
		hook.set(nil)
		time.Sleep(2 * time.Hour)
		if got := hook.has(); len(got) != 3 || hook.times[1].Sub(hook.times[0]) < 2*time.Hour {
			t.Errorf("told %v", got)
		}
	})
}

func TestASlowEndpointHoldsUpItselfAloneAndGetsFewRequestsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"slow": subscribing(t, "incidents findings alerts"), "quick": subscribing(t, "incidents")})
		w.hooks["slow"].slow = 9 * time.Second
		w.start()
		for i := range 30 {
			w.say(incident(fmt.Sprint("i", i), 1, "network"))
			w.say(&event.Alert{ID: fmt.Sprint("x", i), Name: "Down", Domain: "default", State: event.AlertFiring, Updated: time.Now()})
		}
		time.Sleep(2 * time.Second)
		if n := len(w.hooks["quick"].has()); n != 30 {
			t.Errorf("the quick one was told %d", n)
		}
		time.Sleep(5 * time.Minute)
		if n, most := len(w.hooks["slow"].has()), w.hooks["slow"].most; n != 60 || most != requests {
			t.Errorf("the slow one was told %d, %d at once", n, most)
		}
	})
}

func TestAProcessThatIsKilledBetweenDeliveryAndCommitDeliversAgainWithTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		first := w.start()
		killed := make(chan struct{})
		w.hooks["audit"].took = func(p parcel) {
			if strings.Contains(p.body, `"title":"a 2"`) && first != nil {
				first.d.Lose() // The endpoint has it; the commit never comes.
				first = nil
				close(killed)
			}
		}
		dead := first
		w.say(series("a", 4)...)
		<-killed
		dead.kill()
		w.start()
		time.Sleep(time.Minute)
		got := w.hooks["audit"].has()
		if told := sequence(t, got); !slices.Equal(told, titles("a", 4)) {
			t.Errorf("told %v", told)
		}
		times := map[string]int{}
		for _, p := range got {
			times[p.id]++
		}
		if times[incident("a", 2, "").Identity()] != 2 {
			t.Errorf("delivered %v", times)
		}
	})
}

func TestProcessesShareTheWorkAndTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "targets")})
		a, b := w.start(), w.start()
		time.Sleep(20 * time.Second) // They divide what there is.
		n := 0
		target := func(id string) *event.Target {
			n++
			return &event.Target{ID: id, Class: "switch", Team: "network", Lifecycle: event.Active, Updated: time.Now(), Version: fmt.Sprint(n)}
		}
		for i := range 40 {
			w.say(target(fmt.Sprint("t", i)))
		}
		time.Sleep(10 * time.Second)
		owners := map[string]bool{}
		info, err := w.b.Inspect(t.Context(), "targets.v1")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range info.Groups[0].Partitions {
			owners[p.Owner] = true
		}
		if len(owners) != 2 || len(w.hooks["audit"].has()) != 40 {
			t.Errorf("%d owners, %d delivered", len(owners), len(w.hooks["audit"].has()))
		}
		a.kill()
		for i := range 40 {
			w.say(target(fmt.Sprint("t", i)))
		}
		time.Sleep(time.Minute)
		if got := len(w.hooks["audit"].has()); got != 80 {
			t.Errorf("%d delivered after one was killed", got)
		}
		b.stop()
	})
}

func TestOnlyEventsOfTheTeamAreToldAndNoneOfTheCanary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{
			"mine": subscribing(t, "incidents alerts pages findings targets", func(c *Config) { c.Team = "network" }),
			"all":  subscribing(t, "incidents alerts pages findings targets"),
		})
		w.start()
		now := time.Now()
		for _, team := range []string{"network", "db", ""} {
			w.say(
				incident("i-"+team, 1, team),
				&event.Alert{ID: "a-" + team, Name: "Down", Domain: "default", Team: team, State: event.AlertFiring, Updated: now},
				&event.Page{ID: "p-" + team, Domain: "default", Team: team, Kind: event.PageFiring, Stage: event.PageSent, Created: now, Updated: now},
				&event.Finding{Rule: "r", Labels: event.LabelsOf(map[string]string{"team": team}), Domain: "default", Team: team, Verdict: event.VerdictFiring, At: now},
				&event.Target{ID: "t-" + team, Class: "switch", Team: team, Lifecycle: event.Active, Updated: now},
			)
		}
		w.say(
			&event.Target{ID: event.CanaryTarget, Class: "kemi", Lifecycle: event.Active, Updated: now},
			&event.Alert{ID: "canary", Rule: event.RuleCanary, Domain: "default", State: event.AlertResolved, Updated: now},
			&event.Finding{Rule: event.RuleCanary, Domain: "default", Verdict: event.VerdictOK, At: now},
		)
		time.Sleep(time.Second) // Else nobody hears what was replaced.
		if err := w.b.Remove(t.Context(), &event.Target{ID: "t-network"}, &event.Target{ID: event.CanaryTarget}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		mine, all := w.hooks["mine"].has(), w.hooks["all"].has()
		if len(mine) != 6 || len(all) != 16 {
			t.Errorf("%d of the team, %d of all", len(mine), len(all))
		}
		for _, p := range mine {
			gone := strings.Contains(p.body, `"type":"dev.kemi.target.removed.v1"`) && strings.Contains(p.body, `"subject":"t-network"`)
			if !gone && !strings.Contains(p.body, `"team":"network"`) {
				t.Errorf("told %s", p.body)
			}
		}
		if n := len(w.letters("")); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}

func TestAReplayIsForOneSubscriptionWithTheIDsThatWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents", func(c *Config) { c.Team = "network" }), "other": subscribing(t, "incidents")})
		w.start()
		w.say(append(series("a", 3), incident("b", 1, "db"))...)
		time.Sleep(time.Hour)
		w.say(incident("a", 4, "network"))
		time.Sleep(time.Minute)
		w.hooks["audit"].set(func(_ parcel, attempt int) int { return map[bool]int{true: 503, false: 200}[attempt%2 == 0] }) // Each is tried twice.
		for range 2 {                                                                                                        // Whoever asks twice is told twice.
			so, err := w.b.SendAgain(t.Context(), bus.Span{Topic: "incidents.v1", To: time.Now().Add(-10 * time.Minute)}, Group("audit"), nil)
			if err != nil || so.Records != 4 {
				t.Fatal(so, err)
			}
			time.Sleep(time.Minute)
		}
		got := w.hooks["audit"].has()
		if len(got) != 4+3+3 {
			t.Fatalf("told %v", got)
		}
		for i, p := range got[4:] {
			if was := got[i%3]; p.id != was.id || p.body != was.body || p.again != "replay" {
				t.Errorf("again %+v, it was %+v", p, was)
			}
		}
		if n := len(w.hooks["other"].has()); n != 5 {
			t.Errorf("the other one was told %d", n)
		}
		_, err := w.b.SendAgain(t.Context(), bus.Span{Topic: "incidents.v1"}, Group("adit"), nil)
		if err == nil || !strings.Contains(err.Error(), "nobody delivers to the group subscription-adit") {
			t.Errorf("to nobody: %v", err)
		}
	})
}

func TestARetryForWhoIsNotThereAnyMoreLeavesTheLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, map[string]Config{"audit": subscribing(t, "incidents")})
		w.hooks["audit"].set(always(400))
		p := w.start()
		w.say(incident("a", 1, "network"))
		time.Sleep(time.Minute)
		p.stop()
		all := w.letters(Group("audit"))
		if len(all) != 1 {
			t.Fatal(all)
		}
		settled, err := w.b.Retry(t.Context(), []int64{all[0].ID}, "jo", "")
		if err != nil || !strings.Contains(settled[0].Why, "nobody delivers to the group") || len(w.letters("")) != 1 {
			t.Errorf("%+v, %v", settled, err)
		}
		p = w.start() // What is refused again is a letter again, and may be retried again.
		for range 2 {
			all = w.letters("")
			if settled, err = w.b.Retry(t.Context(), []int64{all[0].ID}, "jo", ""); err != nil || settled[0].Why != "" {
				t.Fatalf("%+v, %v", settled, err)
			}
			time.Sleep(time.Minute)
			if again := w.letters(""); len(again) != 1 || again[0].ID == all[0].ID || again[0].Topic != bus.TopicAgain {
				t.Fatalf("then %+v", again)
			}
		}
		p.stop()
		all = w.letters("")
		if settled, err = w.b.Retry(t.Context(), []int64{all[0].ID}, "jo", ""); err != nil || settled[0].Why == "" || len(w.letters("")) != 1 {
			t.Errorf("after it was tried again: %+v, %v", settled, err)
		}
	})
}
