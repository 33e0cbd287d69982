package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

const matcherHelp = `Matchers are those of Alertmanager: alertname=TargetDown, severity!=critical, target=~"web-.*", team!~"a|b". All of them have to
match. A word alone is the name of an alert. The labels target, class and team are the target's.`

func newSilence() *cobra.Command {
	parent := &cobra.Command{Use: "silence", Short: "Hold pages back for some time", Args: noSubcommand, RunE: help}
	parent.AddCommand(newSilenceAdd(), newHoldList("silence", ""), newHoldShow("silence", ""), newHoldEnd("silence", "expire ID…", ""))
	return parent
}

// ends are the flags that say how long a silence or a window holds.
type ends struct{ from, until, lasts string }

func (e *ends) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.lasts, "for", "", "for how long: 30m, 2h, 1d")
	cmd.Flags().StringVar(&e.until, "until", "", "until when: 18:00")
	cmd.Flags().StringVar(&e.from, "from", "", "from when on; without it, from now on")
}

func (e *ends) into(n *api.NewSilence, now time.Time) error {
	var err, wrong error
	n.For = e.lasts
	n.StartsAt, err = ahead("from", e.from, now)
	n.EndsAt, wrong = ahead("until", e.until, now)
	return errors.Join(err, wrong)
}

// matchersOf reads matchers of a command line: a word alone is the name of an alert, as in amtool.
func matchersOf(args []string) []string {
	out := slices.Clone(args)
	if len(out) > 0 && !strings.ContainsAny(out[0], "=~!{") {
		out[0] = "alertname=" + out[0]
	}
	return out
}

func newSilenceAdd() *cobra.Command {
	var c client
	var n api.NewSilence
	var e ends
	var output string
	cmd := &cobra.Command{
		Use: "add MATCHER…", Short: "Have nobody told of some alerts for some time", Args: cobra.MinimumNArgs(1),
		Long: `Adds a silence: while it is in force, nobody is told of the alerts that it matches. They are there all the same, and what still
fires when it ends speaks up.

` + matcherHelp + "\n" + aheadHelp,
		Example: "  kemi silence add target=core-1 --for 2h --comment 'power work in rack 7'\n  kemi silence add DiskFull 'target=~\"backup-.*\"' --until 08:00 --comment 'known, see ticket 12'",
	}
	outputFlag(cmd, &output)
	e.flags(cmd)
	cmd.Flags().StringVar(&n.Comment, "comment", "", "why; needed")
	cmd.Flags().StringVar(&n.ID, "id", "", "change the silence with this id")
	byFlag(cmd, &n.By)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := e.into(&n, time.Now()); err != nil {
			return err
		}
		switch {
		case e.lasts == "" && e.until == "":
			return usageError{errors.New("say how long: --for 2h, or --until 08:00")}
		case n.Comment == "":
			return usageError{errors.New("say why, with --comment: somebody will wonder at night")}
		}
		n.Match, n.By = matchersOf(args), byOr(n.By)
		return addHold(cmd, &c, &n, output)
	}
	return cmd
}

// addHold posts a silence or a window and says what it does.
func addHold(cmd *cobra.Command, c *client, n *api.NewSilence, output string) error {
	var s api.Silence
	if err := c.send(cmd.Context(), "POST", "/silences", nil, n, &s); err != nil {
		return err
	}
	if output == "json" {
		return printJSON(cmd.OutOrStdout(), s)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s%s\n", holdName(&s), holdState(&s, time.Now()), holdCount(&s))
	return err
}

func holdName(s *api.Silence) string {
	if s.Name != "" {
		return plain(s.Name)
	}
	return brief(s.ID)
}

// holdState says how a silence is, and until when.
func holdState(s *api.Silence, now time.Time) string {
	switch {
	case s.State == hush.Expired:
		return "over since " + hour(s.EndsAt, now)
	case s.State == hush.Pending:
		return "from " + hour(s.Until, now)
	case s.Until.IsZero():
		return "in force"
	}
	return "in force until " + hour(s.Until, now)
}

func holdCount(s *api.Silence) string {
	switch {
	case s.Holds == nil:
		return ""
	case *s.Holds == 0:
		return "; no alert that fires now matches"
	case *s.Holds == 1:
		return "; 1 alert that fires now matches"
	}
	return fmt.Sprintf("; %d alerts that fire now match", *s.Holds)
}

// newHoldList makes "kemi silence list" and "kemi maintenance list".
func newHoldList(what string, kind event.SilenceKind) *cobra.Command {
	var c client
	var output string
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what holds pages back, now or later", Args: cobra.NoArgs,
		Example: fmt.Sprintf("  kemi %[1]s list\n  kemi %[1]s list --all -o json", what),
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := queryOf("kind", string(kind))
			if all {
				q.Set("all", "true")
			}
			list := []api.Silence{}
			if err := c.get(cmd.Context(), "/silences", q, &list); err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printHolds(cmd.OutOrStdout(), list, time.Now())
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that are over, too")
	outputFlag(cmd, &output)
	c.flags(cmd)
	return cmd
}

func printHolds(w io.Writer, list []api.Silence, now time.Time) error {
	rows := make([][]string, 0, len(list))
	for i := range list {
		s := &list[i]
		by := s.By
		if s.Configured {
			by = "configuration"
		}
		rows = append(rows, []string{brief(strings.TrimPrefix(s.ID, "config:")), string(s.Kind), s.Name, holdState(s, now), strings.Join(s.Match, " "), by, s.Comment})
	}
	return printTable(w, []string{"ID", "KIND", "NAME", "STATE", "MATCHERS", "BY", "COMMENT"}, rows)
}

func newHoldShow(what string, kind event.SilenceKind) *cobra.Command {
	var c client
	var output string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show everything of one, and how many alerts it holds back", Args: cobra.ExactArgs(1),
		Long:    "Shows one with everything that is known of it. The start of its id is enough; a maintenance window may be named.",
		Example: "  kemi " + what + " show 1a2b3c4d",
		RunE: func(cmd *cobra.Command, args []string) error {
			var s api.Silence
			if err := c.get(cmd.Context(), "/silences/"+url.PathEscape(args[0]), queryOf("kind", string(kind)), &s); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), s)
		},
	}
	outputFlag(cmd, &output)
	c.flags(cmd)
	return cmd
}

// newHoldEnd makes "kemi silence expire" and "kemi maintenance end".
func newHoldEnd(what, use string, kind event.SilenceKind) *cobra.Command {
	var c client
	var by, output string
	cmd := &cobra.Command{
		Use: use, Short: "End it now: what still fires speaks up", Args: cobra.MinimumNArgs(1),
		Example: fmt.Sprintf("  kemi %s %s 1a2b3c4d", what, strings.Fields(use)[0]),
	}
	outputFlag(cmd, &output)
	byFlag(cmd, &by)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ended := []api.Silence{}
		for _, id := range args {
			var s api.Silence
			if err := c.send(cmd.Context(), "DELETE", "/silences/"+url.PathEscape(id), queryOf("by", byOr(by), "kind", string(kind)), nil, &s); err != nil {
				return err
			}
			ended = append(ended, s)
			if output != "json" {
				fmt.Fprintf(cmd.OutOrStdout(), "%s  over\n", holdName(&s))
			}
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), ended)
		}
		return nil
	}
	return cmd
}
