// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	for _, test := range []struct{ name, want, got, diff string }{
		{"equal", "a\n", "a\n", ""},
		{"changed", "a\nb\nc\n", "a\nB\nc\n", " a\n-b\n+B\n c\n"},
		{"added to nothing", "", "a\n", "+a\n"},
		{"taken away", "a\nb\n", "b\n", "-a\n b\n"},
		{"trailing space", "a\n", "a \n", "-a\n+\"a \"\n"},
		{"last newline", "a\n", "a", "-a\n+a (no newline at the end)\n"},
		{
			"far apart", "1\n2\n3\n4\n5\n6\n7\n8\n9\nx\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\ny\n",
			"+0\n 1\n 2\n 3\n  ...\n 7\n 8\n 9\n-x\n+y\n",
		},
		{"far from the start", "1\n2\n3\n4\n5\n", "1\n2\n3\n4\n6\n", "  ...\n 2\n 3\n 4\n-5\n+6\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, diff, _ := strings.Cut(Diff(test.want, test.got), "\n")
			if diff != test.diff {
				t.Errorf("got\n%swant\n%s", diff, test.diff)
			}
		})
	}
}
