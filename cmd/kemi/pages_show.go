package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/api"
)

func newPagesShow() *cobra.Command {
	var c client
	var output string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show one page, what it said and every stage it came to", Args: cobra.ExactArgs(1),
		Long: `Shows one page of the last 90 days: whom it was for and by which way, its words, and every stage it came to. With -o json
it is the newest stage of the page as it was said, and in "stages" all of them.`,
		Example: "  kemi pages show 1a2b3c4d   # the start of the id is enough",
	}
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		stages, err := c.pageStages(cmd, args[0])
		if err != nil {
			return err
		}
		last := stages[len(stages)-1].Page
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), shownPage{last, stagesOf(stages)})
		}
		return printPage(cmd.OutOrStdout(), last, stages)
	}
	return cmd
}

// shownPage is what -o json shows of a page.
type shownPage struct {
	*event.Page
	Stages []pageStage `json:"stages"`
}

// pageStage is one stage of a page, without what they have in common.
type pageStage struct {
	Stage    event.PageStage `json:"stage"`
	At       time.Time       `json:"at"`
	Attempts int             `json:"attempts"`
	Response string          `json:"response,omitempty"`
	NextTry  time.Time       `json:"next_try,omitzero"`
	Arrival  event.Arrival   `json:"arrival,omitempty"`
	Reason   event.Reason    `json:"reason"`
}

func stagesOf(all []api.Entry) []pageStage {
	stages := make([]pageStage, len(all))
	for i, e := range all {
		stages[i] = pageStage{e.Stage, e.Updated, e.Attempts, e.Response, e.NextTry, e.Arrival, e.Reason}
	}
	return stages
}

// pageStages reads everything that the ledger has of one page, in order: there is at least one stage.
func (c *client) pageStages(cmd *cobra.Command, id string) ([]api.Entry, error) {
	q := queryOf("page", id, "from", "beginning")
	var newest event.Page
	missing := c.get(cmd.Context(), "/pages/"+url.PathEscape(id), nil, &newest)
	if missing == nil {
		// Its record was stored about when it was decided: the ledger of before need not be read.
		q = queryOf("page", newest.ID, "from", newest.Created.Add(-time.Hour).UTC().Format(time.RFC3339))
	}
	var stages []api.Entry
	if err := c.ledger(cmd, q, func(e api.Entry, _ json.RawMessage) error {
		stages = append(stages, e)
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(stages, func(a, b api.Entry) int { return a.Stored.Compare(b.Stored) })
	switch {
	case len(stages) == 0 && missing != nil:
		return nil, missing
	case len(stages) == 0:
		return nil, fmt.Errorf("the ledger has no page %s any more", newest.ID)
	}
	for _, e := range stages {
		if e.ID != stages[0].ID {
			return nil, errors.New("several pages begin with " + id + ": write more of the id")
		}
	}
	return stages, nil
}

func printPage(w io.Writer, p *event.Page, stages []api.Entry) error {
	var b strings.Builder
	switch about := "incident " + p.Incident; {
	case p.Several():
		fmt.Fprintf(&b, "%s  %s of several incidents: kemi pages list --summary %s\n", p.ID, p.Kind, p.Summary)
	case p.Summary != "":
		about += ", in the summary " + p.Summary
		fallthrough
	default:
		fmt.Fprintf(&b, "%s  %s of %s\n", p.ID, p.Kind, about)
	}
	to := p.Receiver
	if p.Person != "" {
		to = p.Person + " by " + p.Receiver
	}
	fmt.Fprintf(&b, "to      %s, team %s%s\n", plain(to), plain(p.Team), plain(stepText(p)))
	fmt.Fprintf(&b, "title   %s\n", plain(p.Title))
	for i, line := range strings.Split(strings.TrimSpace(p.Text), "\n") {
		if p.Text != "" {
			fmt.Fprintf(&b, "%-7s %s\n", map[bool]string{true: "text"}[i == 0], plain(line))
		}
	}
	fmt.Fprintln(&b)
	for _, e := range stages {
		fmt.Fprintf(&b, "%s  %-8s", e.Updated.Local().Format(time.DateTime), e.Stage)
		if e.Attempts > 0 {
			fmt.Fprintf(&b, "  attempt %d", e.Attempts)
		}
		for _, said := range []string{e.Response, whyOf(e.Page), untilText("tried again at", e.NextTry)} {
			if said != "" {
				fmt.Fprintf(&b, "  %s", plain(said))
			}
		}
		if e.Arrival == event.ArrivalUnknown {
			b.WriteString("  nobody knows whether it arrived")
		}
		if e.PossibleDuplicate {
			b.WriteString("  possible duplicate")
		}
		fmt.Fprintln(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func stepText(p *event.Page) string {
	said := ""
	if p.Urgency != "" {
		said += ", urgency " + string(p.Urgency)
	}
	if p.Step > 0 {
		said += fmt.Sprintf(", step %d of the escalation", p.Step)
	}
	return said
}

func untilText(what string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return what + " " + t.Local().Format(time.TimeOnly)
}
