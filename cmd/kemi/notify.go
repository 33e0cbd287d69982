package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/alerting"
	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/internal/conf"
)

func newNotify() *cobra.Command {
	parent := &cobra.Command{Use: "notify", Short: "Try receivers out", Args: noSubcommand, RunE: help}
	parent.AddCommand(newNotifyTest())
	return parent
}

func newNotifyTest() *cobra.Command {
	var output, person string
	cmd := &cobra.Command{
		Use: "test RECEIVER", Short: "Send one page for real, marked as a test", Args: cobra.ExactArgs(1),
		Long: `Sends one page by a receiver of the configuration, once, from this process, and prints what the provider answered. It is
marked as a test, is in no ledger and calls for nothing; no Kemi has to run. What was sent stays open with providers that
hold incidents: close it there.

Exit code 0 when the receiver took it, 1 when it did not or the configuration has a mistake.`,
		Example: "  kemi notify test pager --person jo\n  kemi notify test network-chat -c deploy/example/kemi.yaml -o json",
	}
	load := configFlag(cmd)
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&person, "person", "", "whom the page is for, one of people in the configuration")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, problems := load()
		var room *alerting.Room
		if cfg != nil && len(problems) == 0 {
			room, problems = app.Receivers(cfg, logger(cmd.ErrOrStderr(), cfg.Log))
		}
		if len(problems) > 0 {
			return sayProblems(cmd.ErrOrStderr(), problems)
		}
		if people := slices.Sorted(maps.Keys(cfg.People)); person != "" && !slices.Contains(people, person) {
			near := "the people are " + strings.Join(people, ", ")
			if n := conf.Nearest(person, people); n != "" {
				near = `did you mean "` + n + `"?`
			} else if len(people) == 0 {
				near = "the configuration has no people"
			}
			return fmt.Errorf("there is no person %q: %s", person, near)
		}
		if receivers := room.Receivers(); !slices.Contains(receivers, args[0]) {
			near := "the receivers are " + strings.Join(receivers, ", ")
			if n := conf.Nearest(args[0], receivers); n != "" {
				near = `did you mean "` + n + `"?`
			}
			return fmt.Errorf("there is no receiver %q: %s", args[0], near)
		}
		begun := time.Now()
		host, _ := os.Hostname() // Without it the page says less.
		response, err := room.Notify(cmd.Context(), args[0], testPage(args[0], person, host, begun.UTC()))
		t := tried{Receiver: args[0], Person: person, Took: time.Since(begun).Seconds(), Answer: response}
		if err != nil {
			t.Error, t.Permanent = err.Error(), notify.IsPermanent(err)
		}
		return t.say(cmd.OutOrStdout(), output)
	}
	return cmd
}

// testPage is a page that looks like any other and says in every part that it is none.
func testPage(receiver, person, host string, now time.Time) *event.Page {
	from := "Kemi"
	if host != "" {
		from += " on " + host
	}
	const id = "test-of-a-receiver"
	title := "TEST: this is only a test of the receiver " + receiver
	said := "Sent by kemi notify test from " + from + " at " + now.Format(time.RFC3339) + ". Nothing is wrong and nothing is to be done."
	incident := &event.Incident{
		ID: id, Domain: event.DefaultDomain, State: event.IncidentOpen, Kind: event.IncidentOwn, Team: alerting.DefaultTeam, Title: title, Severity: "critical",
		Urgency: event.UrgencyPage, Firing: 1, OpenedAt: now, Updated: now, Revision: 1, Reason: event.Reason{Code: "test", Text: said},
		Alerts: []event.IncidentAlert{{ID: id, Name: "KemiTest", State: event.AlertFiring, Severity: "critical", Summary: said, StartsAt: now}},
	}
	return &event.Page{
		ID: event.ComputeID("test page", receiver, person, now.Format(time.RFC3339Nano)), Incident: id, Domain: incident.Domain, Team: incident.Team, Receiver: receiver,
		Person: person, Urgency: event.UrgencyPage, Kind: event.PageFiring, Stage: event.PageIntent, DedupKey: event.ComputeID("test", receiver, now.Format(time.RFC3339Nano)),
		Title: title, Text: said, Snapshot: incident, Created: now, Updated: now, Reason: incident.Reason,
	}
}

// tried is what came of a test.
type tried struct {
	Receiver string `json:"receiver"`
	Person   string `json:"person,omitempty"`
	// Took is in seconds.
	Took   float64 `json:"took"`
	Answer string  `json:"answer,omitempty"`
	Error  string  `json:"error,omitempty"`
	// Permanent says that trying again would not help.
	Permanent bool `json:"permanent,omitempty"`
}

func (t *tried) say(w io.Writer, output string) error {
	if output == "json" {
		if err := printJSON(w, t); err != nil {
			return err
		}
	} else {
		said := t.Receiver + " took it"
		switch {
		case t.Permanent:
			said = t.Receiver + " refused it, and would refuse it again"
		case t.Error != "":
			said = t.Receiver + " did not take it"
		}
		answer := plain(t.Answer)
		if wrong := plain(t.Error); strings.Contains(wrong, answer) {
			answer = wrong
		} else if wrong != "" {
			answer = wrong + "; it answered: " + answer
		}
		if answer != "" {
			said += ": " + answer
		}
		if _, err := fmt.Fprintf(w, "%s (%s)\n", said, time.Duration(t.Took*float64(time.Second)).Round(time.Millisecond)); err != nil {
			return err
		}
	}
	if t.Error != "" {
		return errWrong
	}
	return nil
}
