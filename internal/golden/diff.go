// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"fmt"
	"slices"
	"strings"
)

// around is how many equal lines are shown on each side of a difference.
const around = 3

// Diff shows line by line how got differs from want: lines only in want begin
// with "-", lines only in got with "+", and a few equal lines around them with
// a space. Equal texts have no difference, "".
func Diff(want, got string) string {
	if want == got {
		return ""
	}
	lines := edits(slices.Collect(strings.Lines(want)), slices.Collect(strings.Lines(got)))
	near := make([]bool, len(lines))
	for i, line := range lines {
		if line[0] == ' ' {
			continue
		}
		for j := max(0, i-around); j <= min(len(lines)-1, i+around); j++ {
			near[j] = true
		}
	}
	var text strings.Builder
	text.WriteString("(- is what the file says, + is what the test got)\n")
	for i, line := range lines {
		switch {
		case near[i]:
			text.WriteString(visible(line))
		case i == 0 || near[i-1]:
			text.WriteString("  ...\n")
		}
	}
	return text.String()
}

// edits is the shortest list of lines kept (" "), taken out ("-") and put in
// ("+") that turns a into b. It follows the longest common subsequence, whose
// table is the product of the lengths: a moment for a thousand lines.
func edits(a, b []string) []string {
	common := make([][]int, len(a)+1)
	common[len(a)] = make([]int, len(b)+1)
	for i := len(a) - 1; i >= 0; i-- {
		common[i] = make([]int, len(b)+1)
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var lines []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			lines = append(lines, " "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "-"+a[i])
			i++
		default:
			lines = append(lines, "+"+b[j])
			j++
		}
	}
	return lines
}

// visible is a line of a difference with its white space made plain where eyes
// would miss it: at the end of a changed line, and a newline that is not there.
func visible(line string) string {
	text, newline := strings.CutSuffix(line, "\n")
	if line[0] != ' ' && strings.TrimRight(text, " \t\r") != text {
		text = fmt.Sprintf("%c%q", text[0], text[1:])
	}
	if !newline {
		text += " (no newline at the end)"
	}
	return text + "\n"
}
