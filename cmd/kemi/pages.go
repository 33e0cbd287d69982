package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

// pageStages are the stages of a page, for people.
const pageStages = "intent, retrying, sent, failed, held"

// pageFlags are the filters of lists of pages.
type pageFlags struct {
	stage, team, target, incident, person, receiver, summary, since string
}

func (f *pageFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.stage, "stage", "", "only those at this stage: "+pageStages)
	cmd.Flags().StringVar(&f.team, "team", "", "only those of this team")
	cmd.Flags().StringVar(&f.target, "target", "", "only those of incidents with this cause")
	cmd.Flags().StringVar(&f.incident, "incident", "", "only those of this incident; the start of its id is enough")
	cmd.Flags().StringVar(&f.person, "person", "", "only those to this person")
	cmd.Flags().StringVar(&f.summary, "summary", "", "only this summary and the pages that it stands for; the start of its id is enough")
	cmd.Flags().StringVar(&f.receiver, "receiver", "", "only those by this receiver")
	_ = cmd.RegisterFlagCompletionFunc("stage", cobra.FixedCompletions(strings.Split(pageStages, ", "), cobra.ShellCompDirectiveNoFileComp)) // Fails only for flags that are not there.
}

func (f *pageFlags) query() (url.Values, error) {
	if f.stage != "" && !slices.Contains(strings.Split(pageStages, ", "), f.stage) {
		return nil, usageError{fmt.Errorf("--stage %s: there is %s", f.stage, pageStages)}
	}
	return queryOf("stage", f.stage, "team", f.team, "target", f.target, "incident", f.incident, "person", f.person, "receiver", f.receiver, "summary", f.summary), nil
}

func newPages() *cobra.Command {
	parent := &cobra.Command{
		Use: "pages", Short: "The ledger: who was told what, and what came of it", Args: noSubcommand, RunE: help,
		Long: `Every page is written down before anything is sent and again with what came of it: who was told what, when, by which way,
at which step of the escalation, what the provider answered, and what was held back and why. The ledger goes back 90 days.`,
	}
	parent.AddCommand(newPagesList(), newPagesShow(), newPagesExport())
	return parent
}

func newPagesList() *cobra.Command {
	var c client
	var f pageFlags
	var output string
	cmd := &cobra.Command{
		Use: "list", Short: "List pages, newest first, each as it is now", Args: cobra.NoArgs,
		Long: `Lists pages, newest first, each as it is now: those of the last week, or with --since those to which something happened
since then, up to 90 days back. Below them stand the incidents for which nobody is called now, and why.
` + whenHelp,
		Example: `  kemi pages list --incident 1a2b3c4d
  kemi pages list --person jo --since 30d
  kemi pages list --stage failed -o json`,
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.stage, "state", "", "another word for --stage")
	_ = cmd.Flags().MarkHidden("state") // Fails only for flags that are not there.
	cmd.Flags().StringVar(&f.since, "since", "", "only those to which something happened since then, such as 2h or 30d")
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		q, err := f.query()
		if err != nil {
			return err
		}
		pages := []*event.Page{}
		if f.since == "" {
			err = c.get(cmd.Context(), "/pages", q, &pages)
		} else {
			pages, err = c.newestPages(cmd, q, when(f.since, time.Now()), f.stage)
		}
		if err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), pages)
		}
		rows := make([][]string, len(pages))
		for i, p := range pages {
			rows[i] = pageRow(p)
		}
		if err := printTable(cmd.OutOrStdout(), titles(pageHeader), rows); err != nil {
			return err
		}
		return c.sayMuted(cmd, &f)
	}
	return cmd
}

var pageHeader = []string{"id", "when", "kind", "urgency", "step", "receiver", "person", "stage", "attempts", "title", "answer"}

func pageRow(p *event.Page) []string {
	step := ""
	if p.Step > 0 {
		step = strconv.Itoa(p.Step)
	}
	return []string{
		p.ID[:min(8, len(p.ID))], ago(p.Created), string(p.Kind), string(p.Urgency), step, p.Receiver, p.Person, string(p.Stage), strconv.Itoa(p.Attempts),
		p.Title, short(pageAnswer(p), 80),
	}
}

// pageAnswer is what came of a page: what the provider said, or why it was not sent.
func pageAnswer(p *event.Page) string {
	said := p.Response
	if p.Stage == event.PageHeld {
		said = reasonText(p.Reason)
	}
	if p.PossibleDuplicate {
		said = strings.TrimSpace("possible duplicate; " + said)
	}
	return strings.TrimRight(said, "; ")
}

// whyOf is the reason of a page for people; nothing when it says no more than the stage that the page has come to.
func whyOf(p *event.Page) string {
	if p.Reason.Text == "" && p.Reason.Code == string(p.Stage) {
		return ""
	}
	return reasonText(p.Reason)
}

// reasonText says a reason for people.
func reasonText(r event.Reason) string {
	switch {
	case r.Text == "":
		return r.Code
	case r.Code == "":
		return r.Text
	}
	return r.Code + ": " + r.Text
}

// newestPages reads the ledger from a time on and keeps the newest stage of each page, newest page first.
func (c *client) newestPages(cmd *cobra.Command, q url.Values, from, stage string) ([]*event.Page, error) {
	q.Set("from", from)
	q.Set("since", from)
	q.Del("stage") // What was retrying may be sent by now: the newest stage decides.
	newest := map[string]*event.Page{}
	err := c.ledger(cmd, q, func(e api.Entry, _ json.RawMessage) error {
		newest[e.ID] = e.Page
		return nil
	})
	pages := make([]*event.Page, 0, len(newest))
	for _, p := range newest {
		if stage == "" || string(p.Stage) == stage {
			pages = append(pages, p)
		}
	}
	slices.SortFunc(pages, func(a, b *event.Page) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return pages, err
}

// ledger hands over the lines of the ledger that a query means. How many cannot be read is said on standard error.
func (c *client) ledger(cmd *cobra.Command, q url.Values, handle func(api.Entry, json.RawMessage) error) error {
	unreadable, p := 0, newProgress(cmd.ErrOrStderr())
	n := 0
	_, err := c.lines(cmd, "/ledger", q, func(line json.RawMessage) error {
		n++
		p.say(func() string { return fmt.Sprintf("%d lines", n) })
		var e api.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read a line of the ledger: %w", err)
		}
		if e.Unreadable != "" || e.Page == nil {
			unreadable++
			return nil
		}
		return handle(e, line)
	})
	p.clear()
	if unreadable > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "kemi: %d records of the ledger cannot be read: kemi replay pages.v1 shows them\n", unreadable)
	}
	if err == nil && cmd.Context().Err() != nil {
		err = fmt.Errorf("broken off after %d lines", n)
	}
	return err
}

// sayMuted tells of the incidents for which nobody is called now: pages that there are not.
func (c *client) sayMuted(cmd *cobra.Command, f *pageFlags) error {
	if f.stage != "" || f.person != "" || f.receiver != "" || f.summary != "" {
		return nil
	}
	var all []*event.Incident
	if err := c.get(cmd.Context(), "/incidents", queryOf("team", f.team, "target", f.target), &all); err != nil {
		return err
	}
	return printMuted(cmd.OutOrStdout(), all, f.incident)
}

func printMuted(w io.Writer, all []*event.Incident, id string) error {
	for _, i := range all {
		if i.State == event.IncidentResolved || len(i.Muted) == 0 || !strings.HasPrefix(i.ID, id) {
			continue
		}
		var why []string
		for _, r := range i.Muted {
			why = append(why, reasonText(r))
		}
		if _, err := fmt.Fprintf(w, "nobody is called for %s (%s): %s\n", i.ID[:min(8, len(i.ID))], plain(i.Title), plain(strings.Join(why, "; "))); err != nil {
			return err
		}
	}
	return nil
}
