package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

// deed is one thing that people do about incidents, as a command.
type deed struct {
	use, short, long, example string
	kind                      event.CommandKind
	least                     int // Arguments.
	// split takes the arguments apart; nil when all of them are incidents.
	split func(args []string, a *api.Act) (incidents []string)
}

const incidentHelp = `An incident is named by its id, or by the start of it, as kemi incidents list shows it.`

func deeds() []deed {
	return []deed{
		{
			"ack INCIDENT…", "Say that you look after an incident: nobody else is called", `Acknowledges incidents: the escalation stops until the acknowledgement ends. If the problem is still there then, it begins anew.
Without --for or --until it holds as long as alerting.ack_for says, 4h by default.`,
			"  kemi ack 1a2b3c4d\n  kemi ack 1a2b3c4d 5e6f --for 2h --comment 'the line card is being replaced'", event.Acknowledge, 1, nil,
		},
		{
			"unack INCIDENT…", "Take an acknowledgement back: the escalation begins anew", "Takes acknowledgements back: the escalation begins anew, at once.",
			"  kemi unack 1a2b3c4d", event.Unacknowledge, 1, nil,
		},
		{
			"assign INCIDENT… PERSON", "Give an incident to a person, who is told", "Assigns incidents to a person of the configuration, who is told by their first way. It does not stop the escalation: ack does.",
			"  kemi assign 1a2b3c4d sun --comment 'you know these switches'", event.Assign, 2, func(args []string, a *api.Act) []string {
				a.To = args[len(args)-1]
				return args[:len(args)-1]
			},
		},
		{
			"comment INCIDENT TEXT…", "Write down something about an incident", "Adds a comment to the record of an incident. It stays there, and tells nobody.",
			"  kemi comment 1a2b3c4d called the provider, ticket 4711", event.Remark, 2, func(args []string, a *api.Act) []string {
				a.Comment = strings.Join(args[1:], " ")
				return args[:1]
			},
		},
		{
			"resolve INCIDENT…", "Say that an incident is over", "Resolves incidents by hand: whoever was told hears that they are over. What still fires then stays quiet until it fires anew.",
			"  kemi resolve 1a2b3c4d --comment 'a test of the sensors'", event.Resolve, 1, nil,
		},
		{
			"snooze INCIDENT…", "Have nobody called for an incident for some time", "Snoozes incidents: nobody is called until the time is over. If the problem is still there then, the escalation begins anew.",
			"  kemi snooze 1a2b3c4d --for 1h\n  kemi snooze 1a2b3c4d --until 08:00", event.Snooze, 1, nil,
		},
	}
}

// newActs makes the commands for what people do about incidents.
func newActs() []*cobra.Command {
	var all []*cobra.Command
	for _, d := range deeds() {
		all = append(all, newAct(d))
	}
	return all
}

func newAct(d deed) *cobra.Command {
	var c client
	var a api.Act
	var until, output string
	cmd := &cobra.Command{Use: d.use, Short: d.short, Long: d.long + "\n\n" + incidentHelp, Example: d.example, Args: cobra.MinimumNArgs(d.least)}
	outputFlag(cmd, &output)
	byFlag(cmd, &a.By)
	if d.kind != event.Remark {
		cmd.Flags().StringVar(&a.Comment, "comment", "", "why")
	}
	if d.kind == event.Acknowledge || d.kind == event.Snooze {
		cmd.Long += "\n" + aheadHelp
		cmd.Flags().StringVar(&a.For, "for", "", "for how long: 30m, 2h, 1d")
		cmd.Flags().StringVar(&until, "until", "", "until when: 18:00")
	}
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		incidents := args
		if d.split != nil {
			incidents = d.split(args, &a)
		}
		a.By = byOr(a.By)
		var err error
		if a.Until, err = ahead("until", until, time.Now()); err != nil {
			return err
		}
		if d.kind == event.Snooze && a.For == "" && until == "" {
			return usageError{errors.New("say how long: --for 1h, or --until 08:00")}
		}
		return doActs(cmd, &c, output, d.kind, incidents, a)
	}
	return cmd
}

// doActs does the same about several incidents. What cannot be done about one does not keep it from the others.
func doActs(cmd *cobra.Command, c *client, output string, kind event.CommandKind, incidents []string, a api.Act) error {
	done := []api.Acted{}
	var errs []error
	for _, id := range incidents {
		var one api.Acted
		if err := c.send(cmd.Context(), "POST", "/incidents/"+url.PathEscape(id)+"/"+string(kind), nil, a, &one); err != nil {
			errs = append(errs, err)
			continue
		}
		done = append(done, one)
		if output != "json" {
			sayActed(cmd.OutOrStdout(), &one, time.Now())
		}
	}
	if output == "json" {
		if err := printJSON(cmd.OutOrStdout(), done); err != nil {
			return err
		}
	}
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		fmt.Fprintf(cmd.ErrOrStderr(), "kemi: %v\n", err)
	}
	return errWrong
}

// sayActed says in one line what was done, and what comes next.
func sayActed(w io.Writer, one *api.Acted, now time.Time) {
	inc, cmd := one.Incident, one.Command
	what := map[event.CommandKind]string{
		event.Acknowledge: "acknowledged", event.Unacknowledge: "not acknowledged any more", event.Assign: "assigned to " + cmd.Args["to"],
		event.Remark: "comment written down", event.Resolve: "resolved", event.Snooze: "snoozed",
	}[cmd.Kind]
	switch {
	case !one.Taken:
		what = "stored, not taken in yet: it will be once alerting runs; kemi incidents show " + brief(inc.ID) + " says so then"
	case cmd.Kind == event.Acknowledge && inc.Ack == nil:
		what += ", and taken back since: nobody has it"
	case cmd.Kind == event.Acknowledge && inc.Ack.By != cmd.By:
		what += ", and " + inc.Ack.By + " has said so since"
	case cmd.Kind == event.Acknowledge && !inc.Ack.Until.IsZero():
		what += " until " + hour(inc.Ack.Until, now)
	case cmd.Kind == event.Snooze && !inc.SnoozedUntil.IsZero():
		what += " until " + hour(inc.SnoozedUntil, now)
	case inc.Coming() != nil:
		next := inc.Coming()
		what += "; " + in(next.At, now) + ": " + next.Text
	}
	fmt.Fprintf(w, "%s  %s  %s\n", brief(inc.ID), plain(inc.Title), plain(what))
}
