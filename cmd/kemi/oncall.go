package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/internal/conf"
)

// newOnCall makes "kemi oncall".
func newOnCall() *cobra.Command {
	var c client
	var at, output string
	var next bool
	cmd := &cobra.Command{
		Use: "oncall [SCHEDULE]", Short: "Who is on call, now or at another time", Args: cobra.MaximumNArgs(1),
		Long:    "Says who is on call, until when, and who is next, in one schedule or in all of them.\n\n" + aheadHelp,
		Example: "  kemi oncall\n  kemi oncall network --next\n  kemi oncall --at '2026-12-24 18:00' -o json",
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&at, "at", "", "at this time; without it, now")
	cmd.Flags().BoolVar(&next, "next", false, "only who is next, and from when on")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		schedule := ""
		if len(args) == 1 {
			schedule = args[0]
		}
		then, err := ahead("at", at, now)
		if err != nil {
			return err
		}
		var all []api.OnCall
		if err := c.get(cmd.Context(), "/oncall", queryOf("schedule", schedule, "at", moment(then)), &all); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		if len(all) == 0 {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "there are no schedules: write them under schedules: in the configuration, see docs/oncall.md")
			return err
		}
		rows := [][]string{}
		for _, o := range all {
			if next {
				who, from, to := "nobody", "-", "-"
				if n := o.NextPrimary; n != nil {
					who, from, to = onDuty(n), hour(n.From, now), hour(n.To, now)
				}
				rows = append(rows, []string{o.Schedule, who, from, to})
				continue
			}
			who := ""
			if n := o.NextPrimary; n != nil {
				who = onDuty(n) + " from " + hour(n.From, now)
			}
			secondary := onDuty(&o.Secondary)
			if o.Secondary.Person == "" {
				secondary = "-"
			}
			rows = append(rows, []string{o.Schedule, onDuty(&o.Primary), hour(o.Primary.To, now), secondary, who})
		}
		if next {
			return printTable(cmd.OutOrStdout(), []string{"SCHEDULE", "NEXT", "FROM", "TO"}, rows)
		}
		return printTable(cmd.OutOrStdout(), []string{"SCHEDULE", "PRIMARY", "UNTIL", "SECONDARY", "NEXT"}, rows)
	}
	cmd.AddCommand(newShifts(), newOverride(), newOverrides(), newWhyNotOnCall())
	return cmd
}

// moment writes a time for a query; "" when there is none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// onDuty names who has a shift.
func onDuty(s *api.Shift) string {
	switch {
	case s.Person == "":
		return "nobody"
	case s.Name == s.Person:
		return s.Person
	}
	return s.Name + " (" + s.Person + ")"
}

func newShifts() *cobra.Command {
	var c client
	var from, to, output string
	cmd := &cobra.Command{
		Use: "show SCHEDULE", Short: "The shifts of a schedule", Args: cobra.ExactArgs(1),
		Long: `Lists the shifts of a schedule in a span of time, two weeks from now on unless told. A calendar program can subscribe to
/api/kemi/v1/schedules/SCHEDULE.ics.

` + aheadHelp,
		Example: "  kemi oncall show network\n  kemi oncall show network --from 2026-12-01 --to 2027-01-01",
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&from, "from", "", "from when on; now unless told")
	cmd.Flags().StringVar(&to, "to", "", "until when")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		begin, err := ahead("from", from, now)
		end, wrong := ahead("to", to, now)
		if err := errors.Join(err, wrong); err != nil {
			return err
		}
		var all []api.Shift
		if err := c.get(cmd.Context(), "/schedules/"+url.PathEscape(args[0])+"/shifts", queryOf("from", moment(begin), "to", moment(end)), &all); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		rows := [][]string{}
		for i := range all {
			rows = append(rows, []string{string(all[i].Role), stampHere(all[i].From), stampHere(all[i].To), onDuty(&all[i]), all[i].Why.Text})
		}
		return printTable(cmd.OutOrStdout(), []string{"ROLE", "FROM", "TO", "WHO", "WHY"}, rows)
	}
	return cmd
}

// stampHere is a time by the clock here, with its day.
func stampHere(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("Mon 2006-01-02 15:04")
}

func newOverride() *cobra.Command {
	var c client
	var n api.NewOverride
	var from, to, output string
	cmd := &cobra.Command{
		Use: "override SCHEDULE PERSON", Short: "Put a person in the place of whoever is on call, for a time", Args: cobra.ExactArgs(2),
		Long: `Has a person take over a schedule for a time, or with --for-person only the shifts of somebody. The newest override that is in
force wins. A swap is two of them.

` + aheadHelp,
		Example: "  kemi oncall override network sun --to 18:00 --comment 'jo is at the dentist'\n  kemi oncall override network sun --for-person jo --from 2026-12-24 --to 2026-12-27",
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&from, "from", "", "from when on; now unless told")
	cmd.Flags().StringVar(&to, "to", "", "until when")
	cmd.Flags().StringVar(&n.Lasts, "for", "", "for how long, instead of --to: 8h")
	cmd.Flags().StringVar(&n.For, "for-person", "", "whose shifts are taken over; anybody's unless told")
	cmd.Flags().StringVar(&n.Comment, "comment", "", "why")
	byFlag(cmd, &n.By)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		var err, wrong error
		n.StartsAt, err = ahead("from", from, now)
		n.EndsAt, wrong = ahead("to", to, now)
		if err := errors.Join(err, wrong); err != nil {
			return err
		}
		if to == "" && n.Lasts == "" {
			return usageError{errors.New("say until when: --to 18:00, or --for 8h")}
		}
		n.Schedule, n.Person, n.By = args[0], args[1], byOr(n.By)
		var o event.Override
		if err := c.send(cmd.Context(), "POST", "/overrides", nil, n, &o); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), o)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  %s has %s from %s to %s\n", brief(o.ID), plain(o.Person), whose(&o), hour(o.StartsAt, now), hour(o.EndsAt, now))
		return err
	}
	return cmd
}

// whose says what an override takes over.
func whose(o *event.Override) string {
	if o.For == "" {
		return plain(o.Schedule)
	}
	return plain("the shifts of " + o.For + " in " + o.Schedule)
}

func newOverrides() *cobra.Command {
	var c client
	var schedule, output string
	var all bool
	cmd := &cobra.Command{
		Use: "overrides", Short: "List who took over what; end what is not meant any more", Args: noSubcommand,
		Example: "  kemi oncall overrides\n  kemi oncall overrides --schedule network --all\n  kemi oncall overrides end 1a2b3c4d",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := queryOf("schedule", schedule)
			if all {
				q.Set("all", "true")
			}
			list := []event.Override{}
			if err := c.get(cmd.Context(), "/overrides", q, &list); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			rows := [][]string{}
			for _, o := range list {
				rows = append(rows, []string{brief(o.ID), o.Schedule, o.Person, cmp.Or(o.For, "-"), stampHere(o.StartsAt), stampHere(o.EndsAt), o.By, o.Comment})
			}
			return printTable(cmd.OutOrStdout(), []string{"ID", "SCHEDULE", "PERSON", "FOR", "FROM", "TO", "BY", "COMMENT"}, rows)
		},
	}
	cmd.Flags().StringVar(&schedule, "schedule", "", "only those of this schedule")
	cmd.Flags().BoolVar(&all, "all", false, "those that are over, too")
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.AddCommand(newOverrideEnd())
	return cmd
}

func newOverrideEnd() *cobra.Command {
	var c client
	var by, comment, output string
	cmd := &cobra.Command{
		Use: "end ID", Short: "End an override now", Args: cobra.ExactArgs(1), Example: "  kemi oncall overrides end 1a2b3c4d",
		RunE: func(cmd *cobra.Command, args []string) error {
			var o event.Override
			if err := c.send(cmd.Context(), "DELETE", "/overrides/"+url.PathEscape(args[0]), queryOf("by", byOr(by), "comment", comment), nil, &o); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), o)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s does not have %s any more\n", brief(o.ID), plain(o.Person), whose(&o))
			return err
		},
	}
	outputFlag(cmd, &output)
	byFlag(cmd, &by)
	cmd.Flags().StringVar(&comment, "comment", "", "why")
	c.flags(cmd)
	return cmd
}

// newWhyNotOnCall makes "kemi oncall why-not", and "kemi why-not", which is the same.
func newWhyNotOnCall() *cobra.Command {
	var c client
	var at, output string
	cmd := &cobra.Command{
		Use: "why-not PERSON [SCHEDULE]", Short: "Why a person was called at a time, or was not", Args: cobra.RangeArgs(1, 2),
		Long: `Says of every incident that was there at a time, or over less than ten minutes before, whether the person was called for it, when and
what came of that, and if not, what held it back (verification, another incident that explains it, an acknowledgement, a silence or
maintenance, a limit, a mute time, its urgency) and who was called instead; then whether the person was on call, who was instead, and when
it is the person's turn. It looks back a week from that time, and pages and incidents are kept for 90 days. Times are by the clock here (03:25, the
last that is over, or "2026-11-22 03:25"), how long ago (2h), or RFC 3339. kemi oncall why-not is the same.

Every decision about one incident: kemi why INCIDENT.`,
		Example: "  kemi why-not jo\n  kemi why-not jo network --at 03:25",
	}
	outputFlag(cmd, &output)
	cmd.Flags().StringVar(&at, "at", "", "at this time; without it, now")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now()
		then := when(at, now)
		if d, err := conf.ParseDuration(strings.TrimSpace(strings.TrimSuffix(then, "ago"))); err == nil {
			then = moment(now.Add(-d.Abs()))
		}
		if _, err := time.Parse(time.RFC3339, then); at != "" && err != nil {
			return usageError{fmt.Errorf("--at %q is no time: write 03:25, \"2026-11-22 03:25\", 2h (ago) or 2026-11-22T03:25:00Z", at)}
		}
		schedule := ""
		if len(args) == 2 {
			schedule = args[1]
		}
		asked := now
		if at != "" {
			asked, _ = time.Parse(time.RFC3339, then)
			if asked = asked.Local(); asked.Second() == 0 { // Who says a minute means all of it.
				asked = asked.Add(time.Minute - time.Second)
			}
		}
		w, err := c.whyNot(cmd, args[0], schedule, asked, now)
		if err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), w)
		}
		return w.print(cmd.OutOrStdout())
	}
	return cmd
}
