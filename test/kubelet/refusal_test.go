// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wantRefusal checks how a request is refused that this runtime or node cannot
// honour: the kubelet shows the message on the pod, so it must name what is wrong,
// by one of the words; and the code must not be one that asks for a repetition.
// With REFUSALS=any it is enough that it is refused.
func (k *kubelet) wantRefusal(err error, words ...string) {
	k.Helper()
	k.wantRefusalCode(err, codes.InvalidArgument, codes.FailedPrecondition)
	if err == nil || os.Getenv("REFUSALS") == "any" {
		return
	}
	message := status.Convert(err).Message()
	for _, word := range words {
		if word != "" && strings.Contains(message, word) {
			return
		}
	}
	k.Errorf("the message %q names none of %q", message, words)
}

// wantRefusalCode checks the code alone.
func (k *kubelet) wantRefusalCode(err error, right ...codes.Code) {
	k.Helper()
	if err == nil || os.Getenv("REFUSALS") != "any" {
		k.wantCode("the request", err, right...)
	}
}
