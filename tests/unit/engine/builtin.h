/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#ifndef TESTS_UNIT_ENGINE_BUILTIN_H
#define TESTS_UNIT_ENGINE_BUILTIN_H

#include "engine/policy.h"

extern const struct policy policy_builtin;

#endif
