/* SPDX-License-Identifier: BSD-2-Clause */
/* SPDX-FileCopyrightText: the objmapper authors */
#include "mgt/mgt.h"

int main(int argc, char **argv)
{
    return mgt_main(argc, argv, worker_main, worker_commands);
}
